//! Which dyno gets a request: a random one with a free place. When there is none the request
//! waits: for a place, or for a dyno that starts.

use super::backlog::Wake;
use super::rescue::Code;
use super::shared::Shared;
use super::table::{App, Route};
use super::target::Busy;
use crate::limits;
use crate::link::RoutedState;
use std::sync::Arc;
use tokio::time::Instant;

/// What a look at an app's dynos finds.
enum Look {
    Free(Busy),
    Failed(Code),
    /// Every dyno has as many requests as it may.
    Full,
    /// None is up, but some start.
    Starting,
}

/// A place on a dyno of the app, by the newest table. Waits where Heroku's router does, and says
/// whether it did.
pub async fn choose(
    shared: &Shared,
    host: &str,
    app: &mut Arc<App>,
    received: Instant,
) -> Result<(Busy, bool), Code> {
    if let Look::Free(busy) = look(shared, app) {
        return Ok((busy, false));
    }
    let mut has_waited = false;
    loop {
        // Before the next look, so that a place which becomes free after it is for this one.
        let mut waiting = app.backlog.join();
        if let Route::App(newest) = shared.table.load().route(host) {
            let joined = std::mem::replace(app, newest);
            if !Arc::ptr_eq(&joined.backlog, &app.backlog) {
                continue;
            }
        }
        let (limit, code) = match look(shared, app) {
            Look::Free(busy) => return Ok((busy, has_waited)),
            Look::Failed(code) => return Err(code),
            Look::Starting => (shared.timers.start_wait, Code::H20),
            Look::Full => {
                let room = limits::DYNO_IN_FLIGHT * app.targets.len();
                if !has_waited && app.backlog.waiting() > room {
                    return Err(Code::H11);
                }
                (shared.timers.backlog_wait, Code::H12)
            }
        };
        has_waited = true;
        match tokio::time::timeout_at(received + limit, waiting.woken()).await {
            Ok(Wake::Place(target)) => return Ok((target.resume(), true)),
            Ok(Wake::Look) => {}
            Err(_) => return Err(code),
        }
    }
}

fn look(shared: &Shared, app: &App) -> Look {
    match app.state {
        RoutedState::Blank => return Look::Failed(Code::H81),
        RoutedState::Maintenance => return Look::Failed(Code::H80),
        RoutedState::NoWeb => return Look::Failed(Code::H14),
        RoutedState::Crashed => return Look::Failed(Code::H10),
        RoutedState::Dynos => {}
    }
    let count = app.targets.len();
    if count == 0 {
        return if app.starting { Look::Starting } else { Look::Failed(Code::H10) };
    }
    let first = if count == 1 { 0 } else { rand::random_range(0..count) };
    let (mut quarantined, mut full) = (0, 0);
    for step in 0..count {
        let target = &app.targets[(first + step) % count];
        if target.is_quarantined(|| shared.now_millis()) {
            quarantined += 1;
            continue;
        }
        match target.begin(limits::DYNO_IN_FLIGHT) {
            Ok(busy) => return Look::Free(busy),
            // A retired one means that a newer table is there already; look again.
            Err(_) => full += 1,
        }
    }
    match (full, quarantined) {
        (0, _) if app.starting => Look::Starting,
        (0, _) => Look::Failed(Code::H34),
        _ => Look::Full,
    }
}
