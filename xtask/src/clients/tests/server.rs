use super::*;

#[test]
fn a_cell_without_its_start_its_end_or_its_exit_code_is_not_complete() {
    let cell = serde_json::json!({
        "id": "cell-1", "run_id": "run-1", "state": "destroyed", "outcome": "succeeded",
        "exit_code": 0, "started_at": "t", "destroyed_at": "t",
    });
    assert_eq!(complete(&serde_json::json!([cell]), 1), 1);
    for missing in ["started_at", "destroyed_at", "exit_code", "run_id"] {
        let mut cell = cell.clone();
        cell[missing] = Value::Null;
        assert_eq!(complete(&serde_json::json!([cell]), 1), 0, "{missing}");
    }
    assert_eq!(complete(&serde_json::json!([]), 1), 0);
}
