# Completes "scrapy sessions" in zsh. Printed by: scrapy sessions completion zsh
# Completion of scrapy's other commands stays as it was. Needs compinit, as all completion in zsh does.

@TABLE@

[[ ${_comps[scrapy]-} != _scrapy_sessions ]] && _scrapy_sessions_before=${_comps[scrapy]-}

_scrapy_sessions() {
    if (( CURRENT < 3 )) || [[ ${words[2]} != sessions ]]; then
        [[ -n $_scrapy_sessions_before ]] && $_scrapy_sessions_before "$@"
        (( CURRENT == 2 )) && compadd -- sessions
        return 0
    fi

    local name= option= value found i
    local -a place
    for (( i = 3; i < CURRENT; i++ )); do
        value=${words[i]}
        if [[ -n $option ]]; then
            case $option in
                (--store|--namespace|-s|--set) place+=("$option" "${(Q)value/#\~\//$HOME/}") ;;
            esac
            option=
        elif [[ $value == -* ]]; then
            [[ -n $(_scrapy_sessions_table "$name $value") ]] && option=$value
        elif [[ -z $name ]]; then
            name=$value
        fi
    done
    if [[ -z $option && $PREFIX == --*=* ]]; then
        option=${PREFIX%%=*}
        compset -P '*='
    fi
    if [[ -n $option ]]; then
        found=$(_scrapy_sessions_table "$name $option")
    elif [[ $PREFIX == -* ]]; then
        found=$(_scrapy_sessions_table "$name options")
    else
        found=$(_scrapy_sessions_table "$name arguments")
    fi
    case $found in
        (@value|'') _files ;;
        (@ids) compadd -- ${(f)"$(${words[1]} sessions list --ids "${place[@]}" 2>/dev/null)"} ;;
        (*) compadd -- ${=found} ;;
    esac
}

compdef _scrapy_sessions scrapy
