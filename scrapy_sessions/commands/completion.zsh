# Completes "scrapy sessions" in zsh. Printed by: scrapy sessions completion zsh
# Another completion of scrapy still completes its other commands. Needs compinit.

[[ ${_comps[scrapy]-} != _scrapy_sessions ]] && _scrapy_sessions_before=${_comps[scrapy]-}

@SHTAB@

# Completes the values of the field $1, from the store that the line names.
_scrapy_sessions_values() {
    local i
    local -a place
    for (( i = 3; i < ${#typed}; i++ )); do
        case ${typed[i]} in
            (--store|--namespace|-s|--set) place+=("${typed[i]}" "${(Q)typed[i + 1]/#\~\//$HOME/}") ;;
        esac
    done
    compadd -- ${(f)"$(${typed[1]} sessions list --values $1 "${place[@]}" 2>/dev/null)"}
}

_scrapy_sessions() {
    if (( CURRENT < 3 )) || [[ ${words[2]} != sessions ]]; then
        ${_scrapy_sessions_before:-_default} "$@"
        (( CURRENT == 2 )) && compadd -- sessions
        return 0
    fi

    # The function of shtab expects "--option value", not "--option=value".
    local word
    local -a typed
    for word in "${(@)words[1,CURRENT-1]}"; do
        if [[ $word == --*=* ]]; then
            typed+=("${word%%=*}" "${word#*=}")
        else
            typed+=("$word")
        fi
    done
    if [[ $PREFIX == --*=* ]]; then
        typed+=("${PREFIX%%=*}")
        compset -P '*='
    fi
    words=("${typed[@]}" "$PREFIX$SUFFIX")
    CURRENT=${#words}
    _shtab_scrapy
}

compdef _scrapy_sessions scrapy
