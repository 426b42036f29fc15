# Completes "scrapy sessions" in bash. Printed by: scrapy sessions completion bash
# Another completion of scrapy still completes its other commands.

_scrapy_sessions_found=$(complete -p scrapy 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
[[ $_scrapy_sessions_found != _scrapy_sessions ]] && _scrapy_sessions_before=$_scrapy_sessions_found

@SHTAB@

# Prints the values of the field $1 that begin with $2, from the store that the line names.
_scrapy_sessions_values() {
    local value i
    local -a place=()
    for ((i = 2; i < COMP_CWORD - 1; i++)); do
        case ${COMP_WORDS[i]} in
            --store | --namespace | -s | --set) place+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]/#\~\//$HOME/}") ;;
        esac
    done
    while IFS= read -r value; do
        [[ $value == "$2"* ]] && printf '%q\n' "$value"
    done < <("${COMP_WORDS[0]}" sessions list --values "$1" "${place[@]}" 2>/dev/null)
}
_scrapy_sessions_session_id() { _scrapy_sessions_values session_id "$1"; }
_scrapy_sessions_namespace() { _scrapy_sessions_values namespace "$1"; }
_scrapy_sessions_pool() { _scrapy_sessions_values pool "$1"; }

_scrapy_sessions() {
    COMPREPLY=()
    # Split at spaces only: bash splits its own COMP_WORDS at every ":" and "=" too.
    local -a typed
    read -ra typed <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:COMP_POINT-1:1} == [[:space:]] ]] && typed+=("")
    if [[ ${#typed[@]} -lt 3 || ${typed[1]} != sessions ]]; then
        [[ -n $_scrapy_sessions_before ]] && "$_scrapy_sessions_before" "$@"
        [[ ${#typed[@]} -eq 2 && -n ${typed[1]} && sessions == "${typed[1]}"* ]] && COMPREPLY+=(sessions)
        return 0
    fi

    local word
    local -a COMP_WORDS=()
    for word in "${typed[@]}"; do
        if [[ $word == --*=* ]]; then
            COMP_WORDS+=("${word%%=*}" "${word#*=}")
        else
            COMP_WORDS+=("$word")
        fi
    done
    local COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    word=${COMP_WORDS[COMP_CWORD]}
    _shtab_scrapy
    # Bash inserts the answer in place of the text after the last ":".
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    return 0
}

# Without an answer, bash completes file names.
complete -o default -F _scrapy_sessions scrapy
