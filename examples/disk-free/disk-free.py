#!/usr/bin/env python3
"""One line of JSON for each request and each answer. When stdin ends the agent wants it to go."""
import json, os, sys

for line in sys.stdin:
    request = json.loads(line)
    if request["action"] != "call":
        continue  # `cancel`: every answer here comes at once
    answer = {"id": request["id"]}
    try:
        facts = os.statvfs(request["input"]["path"])
        answer["data"] = {"free": facts.f_bavail * facts.f_frsize, "share": facts.f_bavail / max(1, facts.f_blocks)}
        answer["success"] = True
    except OSError as error:
        answer["success"] = False
        answer["error"] = {"message": str(error), "code": "failed", "retryable": False, "started": False}
    print(json.dumps(answer), flush=True)
