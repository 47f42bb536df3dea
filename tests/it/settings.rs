//! The server's settings and its end: wrong ones by name, one server for each data directory, and
//! SIGTERM.

use crate::support::Platform;
use crate::support::command::run;
use crate::support::platform::{SENRYU, clean};
use nix::sys::signal::Signal;
use std::sync::Arc;

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = |arguments: &[&str]| {
        let mut command = clean(SENRYU);
        command.arg("server").arg("--data-dir").arg(&data).args(arguments);
        command
    };
    for (arguments, name) in [
        (&["--listen", "0.0.0.0:1"][..], "--listen"),
        (&["--listen", "nonsense"], "--listen"),
        (&["--boot-timeout", "0"], "--boot-timeout"),
        (&["--boot-timeout", "soon"], "--boot-timeout"),
        (&["--parallel-builds=-1"], "--parallel-builds"),
        (&["--parallel-builds", "-1"], "--parallel-builds"),
        (&["--domain", "not a host"], "--domain"),
        (&["--run-dir", "relative"], "--run-dir"),
        (&["--dyno-sizes", "Huge:memory=1"], "--dyno-sizes"),
        (&["--dyno-sizes", "Eco:memory=2048"], "kill must not be below memory"),
        (&["--build-limits", "disk=1"], "--build-limits"),
        (&["--no-such-setting"], "--no-such-setting"),
    ] {
        let output = run(&mut server(arguments), b"").failed(2);
        assert!(output.stderr.contains(name), "{arguments:?}: {}", output.stderr);
    }
    let mut by_variable = server(&[]);
    by_variable.env("SENRYU_STOP_GRACE", "long");
    run(&mut by_variable, b"").failed(2).says("--stop-grace");
    let file = dir.path().join("senryu.toml");
    std::fs::write(&file, "boot_timeuot = 3\n").unwrap();
    let mut by_file = server(&[]);
    by_file.env("SENRYU_CONFIG", &file);
    run(&mut by_file, b"").failed(2).says("boot_timeuot");
    run(server(&["--listen", "0.0.0.0:1"]).arg("--check"), b"").failed(2).says("--listen");
    run(server(&[]).arg("--check"), b"").succeeded();
    assert!(!data.exists(), "a refused server makes nothing");
}

#[test]
fn a_second_server_on_a_data_directory_is_refused() {
    let platform = Platform::shared();
    let mut second = platform.server_command();
    second.args(["--listen", "127.0.0.1:0"]);
    run(&mut second, b"").failed(3).says(platform.data_dir().to_str().unwrap());
    platform.api("GET", "/account", None).is(200);
}

#[test]
fn sigterm_ends_the_server_and_nothing_else() {
    let platform = Arc::new(Platform::start());
    let app = platform.app_from("tiny");
    let (dynos, routers) = (app.dynos(), platform.router_pids());
    let mut kept = platform.connection();
    app.get_on(&mut kept, "/").unwrap().is(200);
    assert_eq!(platform.end_server(Signal::SIGTERM), Some(0));
    app.get_on(&mut kept, "/").unwrap().is(200);
    assert_eq!(app.serving(), "v3");
    assert_eq!((app.dynos(), platform.router_pids()), (dynos.clone(), routers.clone()));
    platform.start_server();
    app.get_on(&mut kept, "/").unwrap().is(200);
    assert_eq!((app.dynos(), platform.router_pids()), (dynos, routers));
    app.cli(&["ps:scale", "web=2"]).succeeded();
}
