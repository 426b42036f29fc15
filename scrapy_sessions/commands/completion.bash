# Completes "scrapy sessions" in bash. Printed by: scrapy sessions completion bash
# Completion of scrapy's other commands stays as it was.

@TABLE@

_scrapy_sessions_found=$(complete -p scrapy 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[[ $_scrapy_sessions_found != _scrapy_sessions ]] && _scrapy_sessions_before=$_scrapy_sessions_found

_scrapy_sessions() {
    COMPREPLY=()
    # Cut at spaces only: COMP_WORDS is cut at every ":" and "=" too.
    local -a typed
    read -ra typed <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:COMP_POINT-1:1} == [[:space:]] ]] && typed+=("")
    local last=$((${#typed[@]} - 1))
    if [[ $last -lt 2 || ${typed[1]} != sessions ]]; then
        [[ -n $_scrapy_sessions_before ]] && "$_scrapy_sessions_before" "$@"
        [[ $last -eq 1 && -n ${typed[1]} && sessions == "${typed[1]}"* ]] && COMPREPLY+=(sessions)
        return 0
    fi

    local command= option= value i words word=${typed[last]}
    local -a place=()
    for ((i = 2; i < last; i++)); do
        value=${typed[i]}
        if [[ -n $option ]]; then
            case $option in
                --store | --namespace | -s | --set) place+=("$option" "${value/#\~\//$HOME/}") ;;
            esac
            option=
        elif [[ $value == -* ]]; then
            [[ -n $(_scrapy_sessions_table "$command $value") ]] && option=$value
        elif [[ -z $command ]]; then
            command=$value
        fi
    done
    if [[ -z $option && $word == --*=* ]]; then
        option=${word%%=*} word=${word#*=}
    fi
    if [[ -n $option ]]; then
        words=$(_scrapy_sessions_table "$command $option")
    elif [[ $word == -* ]]; then
        words=$(_scrapy_sessions_table "$command options")
    else
        words=$(_scrapy_sessions_table "$command arguments")
    fi

    # Bash puts the answer in place of what follows the last of its own cuts.
    local cut=
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && cut=${word%"${word##*:}"}
    while IFS= read -r value; do
        if [[ -n $value && $value == "$word"* ]]; then
            printf -v value %q "${value#"$cut"}"
            COMPREPLY+=("$value")
        fi
    done < <(
        case $words in
            @value) ;;
            @ids) "${typed[0]}" sessions list --ids "${place[@]}" 2>/dev/null ;;
            *) printf '%s\n' $words ;;
        esac
    )
    return 0
}

# Where nothing of ours fits, bash completes the names of files.
complete -o default -F _scrapy_sessions scrapy
