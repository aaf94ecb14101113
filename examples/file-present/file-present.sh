#!/bin/sh
# Settings come as HOLDFAST_INPUT_*, the last committed checkpoint as HOLDFAST_CHECKPOINT. One line of JSON is one event;
# stderr is the plugin's log.
was=${HOLDFAST_CHECKPOINT:-'"unknown"'}
echo "looking for $HOLDFAST_INPUT_PATH" >&2

while :; do
  if [ -e "$HOLDFAST_INPUT_PATH" ]; then now='"present"'; else now='"absent"'; fi
  if [ "$now" != "$was" ]; then
    # The checkpoint commits together with the event: after a restart nothing is told twice.
    echo "{\"events\": [{\"type\": \"file.${now#?}, \"data\": {\"was\": $was}}], \"checkpoint\": $now}"
    was=$now
  fi
  sleep "$HOLDFAST_INPUT_EVERY"
done
