import json

from selma.tracking.journals import last_seconds


def test_what_a_stage_took_is_its_last_finished_run_in_the_workspace(tmp_path):
    runs = [("workspace", 10, 25, "finished"), ("workspace", 100, 130, "finished")]
    runs += [("workspace", 200, 201, "failed"), ("my-exp", 300, 399, "finished")]
    for pid, (run, start, end, status) in enumerate(runs):
        events = [
            {"time": start, "event": "start", "argv": []},
            {"time": end, "event": "end", "status": status},
        ]
        lines = [json.dumps({**event, "pid": pid, "stage": "lora@a"}) for event in events]
        path = tmp_path / run / f"lora@a-{pid}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert last_seconds(tmp_path) == {"lora@a": 30}
