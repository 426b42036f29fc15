# Completes "scrapy sessions" in fish. Printed by: scrapy sessions completion fish
# Completion of scrapy's other commands stays as it was.

@TABLE@

function _scrapy_sessions_complete
    set -l typed (commandline -opc)
    set -l word (commandline -ct)
    set -l name ''
    set -l option ''
    set -l place
    for value in $typed[3..-1]
        if test -n "$option"
            contains -- $option --store --namespace -s --set; and set -a place $option $value
            set option ''
        else if string match -q -- '-*' $value
            test -n (_scrapy_sessions_table "$name $value" | string collect --allow-empty); and set option $value
        else if test -z "$name"
            set name $value
        end
    end
    set -l prefix ''
    if test -z "$option"; and string match -q -- '--*=*' $word
        set option (string replace -r '=.*' '' -- $word)
        set prefix "$option="
    end
    set -l found
    if test -n "$option"
        set found (_scrapy_sessions_table "$name $option")
    else if string match -q -- '-*' $word
        set found (_scrapy_sessions_table "$name options")
    else
        set found (_scrapy_sessions_table "$name arguments")
    end
    switch "$found"
        case @value ''
            __fish_complete_path (string replace -- "$prefix" '' $word)
        case @ids
            $typed[1] sessions list --ids $place 2>/dev/null
        case '*'
            printf "$prefix%s\n" (string split ' ' -- $found)
    end
end

complete -c scrapy -n 'test (count (commandline -opc)) -eq 1' -a sessions -d 'List, show, move and mend saved sessions'
complete -c scrapy -f -n 'contains -- sessions (commandline -opc)[2..2]' -a '(_scrapy_sessions_complete)'
