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


def test_what_interrupted_runs_with_the_same_params_did_before_is_counted_in(tmp_path):
    runs = [(10, 25, 1, "interrupted"), (30, 50, 2, "interrupted"), (60, 100, 2, "interrupted")]
    runs += [(110, 115, 2, "finished"), (200, 201, 2, "finished")]

    def write(pid, start, end, rank, status):
        events = [
            {"time": start, "event": "start", "argv": []},
            {"time": start, "event": "params", "values": {"rank": rank}},
            {"time": end, "event": "end", "status": status},
        ]
        lines = [json.dumps({**event, "pid": pid, "stage": "lora@a"}) for event in events]
        path = tmp_path / "workspace" / f"lora@a-{pid}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    for pid, run in enumerate(runs[:4]):
        write(pid, *run)
    assert last_seconds(tmp_path) == {"lora@a": 20 + 40 + 5}
    write(9, *runs[4])
    assert last_seconds(tmp_path) == {"lora@a": 1}
