def judge(event):
    used = event["payload"]["used"]
    return {"used": used, "verdict": "clean up" if used > 0.9 else "fine"}
