//! `admin:create`, `admin:password` and `admin:2fa:disable`: what only root can do, over the
//! server's own socket.

use super::client::text;
use super::credentials::Saved;
use super::failure::{Failure, Result};
use super::{Cx, auth, socket};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Make an admin, of a user if there is one, on the server's machine
    #[command(name = "admin:create")]
    Create(Create),
    /// Give somebody a new password, on the server's machine
    #[command(name = "admin:password")]
    Password(Password),
    /// Switch off somebody's second factor, on the server's machine
    #[command(name = "admin:2fa:disable")]
    RemoveSecondFactor(RemoveSecondFactor),
}

#[derive(Debug, Args)]
pub struct Socket {
    /// The server's socket
    #[arg(
        long,
        env = "SENRYU_ADMIN_SOCKET",
        default_value = "/run/senryu/admin.sock",
        value_name = "SOCKET"
    )]
    socket: PathBuf,
}

#[derive(Debug, Args)]
pub struct Create {
    /// E-mail address of the admin
    email: String,
    /// Log this user in as the admin, too
    #[arg(long)]
    login: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
#[command(after_help = "For somebody who has forgotten it. A second factor stays as it is, and \
                        tokens go on.")]
pub struct Password {
    /// E-mail address of the user
    email: String,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
#[command(after_help = "For the last admin, who has lost phone and recovery codes.")]
pub struct RemoveSecondFactor {
    /// E-mail address of the user
    email: String,
    #[command(flatten)]
    socket: Socket,
}

pub async fn run(cx: &Cx, command: Admin) -> Result {
    match command {
        Admin::Create(args) => create(cx, args).await,
        Admin::Password(args) => reset_password(cx, args).await,
        Admin::RemoveSecondFactor(args) => remove_second_factor(cx, args).await,
    }
}

impl Socket {
    async fn send(&self, path: &str, body: &Value) -> Result<Value> {
        let sent = socket::send(&self.socket, path, Some(body)).await;
        let (status, answer) = sent.map_err(|failure| {
            Failure::with_hint(
                failure.to_string(),
                "Run it as root on the server's machine, while `senryu server` runs there. \
                 --socket names another socket.",
            )
        })?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(Failure::refused(match text(&answer, "/message") {
            "" => format!("The server answered HTTP {status}"),
            message => message.to_string(),
        }))
    }
}

async fn reset_password(cx: &Cx, args: Password) -> Result {
    let body = json!({ "email": args.email });
    let answer = args.socket.send("/internal/passwords", &body).await?;
    cx.ui.say(&format!(
        "{} has a new password, and the sessions in the console have ended. It is shown this \
         once, and has to be changed first: in the console, or by senryu login:\n",
        text(&answer, "/email")
    ));
    cx.ui.line(text(&answer, "/password"))
}

async fn remove_second_factor(cx: &Cx, args: RemoveSecondFactor) -> Result {
    let body = json!({ "email": args.email });
    let answer = args.socket.send("/internal/second-factors/remove", &body).await?;
    cx.ui.say(&format!(
        "The second factor of {} is off: the password suffices now.\n",
        text(&answer, "/email")
    ));
    Ok(())
}

async fn create(cx: &Cx, args: Create) -> Result {
    let body = json!({ "email": args.email, "login": args.login });
    let answer = args.socket.send("/internal/admins", &body).await?;
    let email = match text(&answer, "/email") {
        "" => args.email.as_str(),
        email => email,
    };
    let is = |field: &str| answer.get(field) == Some(&Value::Bool(true));
    match (is("created"), text(&answer, "/password")) {
        (true, password) if !password.is_empty() => {
            cx.ui.say(&format!(
                "Created admin {email}. The password is shown this once, and has to be changed \
                 first: in the console, or by senryu login:\n"
            ));
            cx.ui.line(password)?;
        }
        _ if is("promoted") => {
            cx.ui.say(&format!("{email} was no admin and is one now; the password stays.\n"));
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
