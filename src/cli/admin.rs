//! `admin:create`: makes an admin over the server's own socket, which only root can open.

use super::client::text;
use super::credentials::Saved;
use super::failure::{Failure, Result};
use super::{Cx, auth, socket};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Create {
    /// E-mail address of the admin
    email: String,
    /// Log this user in as the admin, too
    #[arg(long)]
    login: bool,
    /// The server's socket
    #[arg(
        long,
        env = "SENRYU_ADMIN_SOCKET",
        default_value = "/run/senryu/admin.sock",
        value_name = "SOCKET"
    )]
    socket: PathBuf,
}

pub async fn create(cx: &Cx, args: Create) -> Result {
    let body = json!({ "email": args.email, "login": args.login });
    let (status, answer) =
        socket::send(&args.socket, "/internal/admins", Some(&body)).await.map_err(|failure| {
            Failure::with_hint(
                failure.to_string(),
                "Run it as root on the server's machine, while `senryu server` runs there. \
                 --socket names another socket.",
            )
        })?;
    if !(200..300).contains(&status) {
        let message = match text(&answer, "/message") {
            "" => format!("The server answered HTTP {status}"),
            message => message.to_string(),
        };
        return Err(Failure::refused(message));
    }
    let email = match text(&answer, "/email") {
        "" => args.email.as_str(),
        email => email,
    };
    let created = answer.get("created") == Some(&Value::Bool(true));
    match (created, text(&answer, "/password")) {
        (true, password) if !password.is_empty() => {
            cx.ui.say(&format!("Created admin {email}. The password is shown this once:\n"));
            cx.ui.line(password)?;
        }
        _ => cx.ui.say(&format!("The admin {email} exists already; the password stays.\n")),
    }
    if args.login {
        let token = text(&answer, "/token").to_string();
        if token.is_empty() {
            return Err(Failure::refused("The server answered without a token"));
        }
        auth::keep(cx, Saved { email: email.to_string(), token, authorization: None })?;
        cx.ui.say(&format!("Logged in as {email}\n"));
    }
    Ok(())
}
