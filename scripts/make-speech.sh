#!/usr/bin/env bash
# Makes assets/speech/*.wav and speech.json anew. Needs espeak-ng and sox.
set -euo pipefail
cd "$(dirname "$0")/../assets/speech"

for tool in espeak-ng sox; do
  command -v "$tool" >/dev/null || { echo "make-speech: $tool is missing; install the package $tool" >&2; exit 1; }
done

entries=()

# say <name> <voice> <words per minute> <seconds of silence before> <seconds after> <text>
say() {
  local name=$1 voice=$2 pace=$3 before=$4 after=$5 text=$6
  # No dither (-D), so that the same tools give the same bytes; espeak's own silence is cut so that ours is exact.
  espeak-ng -v "$voice" -s "$pace" --stdout -- "$text" |
    sox -D -t wav --ignore-length - -r 24000 -c 1 -b 16 -e signed-integer "$name.wav" \
      norm -4 rate -v silence 1 0.01 0.3% reverse silence 1 0.01 0.3% reverse pad "$before" "$after"
  entries+=("$(printf '  "%s": { "text": "%s", "seconds": %.2f }' "$name" "$text" "$(soxi -D "$name.wav")")")
}

say question-order en-us 140 0.3 0.3 'When will my order from last week arrive?'
say answer-hello en-us+f3 160 0.05 0.15 'Hello! Your order arrives tomorrow morning.'
say answer-story en-us+f3 195 0.05 0.15 \
  'Of course. It left our warehouse today, crossed the mountains, and now waits in your town.'

{
  echo '{'
  for i in "${!entries[@]}"; do
    comma=$([ "$i" -lt $((${#entries[@]} - 1)) ] && echo , || true)
    echo "${entries[$i]}$comma"
  done
  echo '}'
} >speech.json
