#!/usr/bin/env python3
"""Settings are JSON on stdin. After a restart it goes on behind the last line whose events were kept."""
import json, os, re, sys, time

settings = json.load(sys.stdin)
pattern = re.compile(settings["pattern"])
offset = json.loads(os.environ.get("HOLDFAST_CHECKPOINT", "0"))

while True:
    if os.path.getsize(settings["path"]) < offset:
        offset = 0  # it was emptied, or is another file
    events, before = [], offset
    with open(settings["path"], "rb") as file:
        file.seek(offset)
        while len(events) < 100 and (line := file.readline()).endswith(b"\n"):
            offset += len(line)
            text = line.decode(errors="replace").rstrip("\r\n")
            if pattern.search(text):
                events.append({"type": "log.match", "subject": settings["path"], "data": {"line": text}})
    if offset != before:
        print(json.dumps({"events": events, "checkpoint": offset}), flush=True)
    else:
        time.sleep(settings["every"])
