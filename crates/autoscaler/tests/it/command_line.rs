use std::process::Command;

fn product(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vpsie-autoscaler"))
        .args(args)
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn bad_arguments_are_refused_with_one_line_that_names_them_and_status_2() {
    for (args, named) in [
        (vec!["--nonsense"], "--nonsense"),
        (vec!["run", "--nonsense=1"], "--nonsense"),
        (vec!["run", "--log-level=loud"], "loud"),
        (vec!["run", "--failed-vpsienode-ttl=-5m"], "-5m"),
        (
            vec!["run", "--metrics-addr=:1", "--health-addr=:1"],
            "--metrics-addr",
        ),
        (
            vec!["run", "--kubeconfig=/does/not/exist"],
            "/does/not/exist",
        ),
    ] {
        let (code, stdout, stderr) = product(&args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stdout.is_empty(), "{args:?}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?}: {stderr}");
    }
}

#[test]
fn the_webhook_is_accepted_and_said_not_to_be_served_in_one_line() {
    let nowhere = "--kubeconfig=/does/not/exist";
    let (code, _, stderr) = product(&["run", "--enable-webhook=true", nowhere]);
    assert_eq!(code, 2, "for want of a cluster only: {stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    let warning: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(warning["level"], "WARN");
    let message = warning["message"].as_str().unwrap();
    assert!(message.starts_with("--enable-webhook: "), "{message}");
    assert!(lines[1].contains("/does/not/exist"), "{stderr}");
}

#[test]
fn crds_prints_the_three_definitions() {
    let (code, stdout, _) = product(&["crds"]);
    assert_eq!(code, 0);
    assert_eq!(stdout, api::crds::yaml());
    assert_eq!(stdout.matches("kind: CustomResourceDefinition").count(), 3);
}
