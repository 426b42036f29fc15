# Completes "scrapy sessions" in fish. Printed by: scrapy sessions completion fish
# Another completion of scrapy still completes its other commands.

@SHTAB@

# Prints the values of the field $argv[1], from the store that the line names.
function _scrapy_sessions_values
    set -l typed (commandline -opc)
    set -l option ''
    set -l place
    for value in $typed[3..-1]
        if test -n "$option"
            set -a place $option $value
            set option ''
        else if contains -- $value --store --namespace -s --set
            set option $value
        else if string match -qr -- '^--(store|namespace|set)=' $value
            set -a place $value
        end
    end
    $typed[1] sessions list --values $argv[1] $place 2>/dev/null
end

complete -c scrapy -f -n 'contains -- sessions (commandline -opc)[2..2]'
