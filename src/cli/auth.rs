//! `login`, `logout`, `auth:whoami`, `auth:2fa`, `auth:password`, `auth:token`: who the command
//! line is to the server.

use super::Cx;
use super::client::{Auth, Client, segment, text};
use super::credentials::{Credentials, Saved};
use super::failure::{Failure, Result};
use super::{git, terminal};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Bytes that a token on standard input may have.
const TOKEN_BYTES: u64 = 4096;

/// Bytes that two passwords on standard input may have: as many as the server takes, and more.
const PASSWORDS_BYTES: u64 = 4096;

/// Codes that are asked for before it is given up.
const CODES: u32 = 3;

#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Log in with e-mail and password
    #[command(name = "login", visible_alias = "auth:login")]
    Login(Login),
    /// Clear the saved token and revoke it
    #[command(name = "logout", visible_alias = "auth:logout")]
    Logout,
    /// Show who is logged in
    #[command(name = "auth:whoami", visible_alias = "whoami")]
    Whoami,
    /// Show whether your account has a second factor
    #[command(name = "auth:2fa", visible_alias = "2fa")]
    SecondFactor,
    /// Change your password
    #[command(name = "auth:password")]
    Password(Password),
    /// Print the token in use
    #[command(name = "auth:token")]
    Token,
}

pub async fn run(cx: &Cx, command: Commands) -> Result {
    match command {
        Commands::Login(args) => login(cx, args).await,
        Commands::Logout => logout(cx).await,
        Commands::Whoami => whoami(cx).await,
        Commands::SecondFactor => second_factor(cx).await,
        Commands::Password(args) => password(cx, args).await,
        Commands::Token => token(cx),
    }
}

#[derive(Debug, Args)]
pub struct Login {
    /// Read an API token from standard input instead of asking for e-mail and password
    #[arg(long)]
    token_stdin: bool,
    /// Ask in the terminal (there is no other way; kept for Heroku's scripts)
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Seconds that the token stays valid; without it until `senryu logout`
    #[arg(short, long, value_name = "SECONDS")]
    expires_in: Option<u64>,
}

async fn login(cx: &Cx, args: Login) -> Result {
    if cx.env.var("SENRYU_API_KEY").is_some() {
        return Err(Failure::with_hint(
            "Cannot log in with SENRYU_API_KEY set: it would be used in place of the saved token.",
            "Unset SENRYU_API_KEY and try again.",
        ));
    }
    cx.client.may_log_in()?;
    let saved = match args.token_stdin {
        true => by_token(cx).await?,
        false => by_password(cx, args.expires_in).await?,
    };
    let email = saved.email.clone();
    keep(cx, saved)?;
    cx.ui.line(format!("Logged in as {email}"))
}

/// Saves a token and lets git ask us for it.
pub fn keep(cx: &Cx, saved: Saved) -> Result {
    let mut credentials = Credentials::load(&cx.env)?;
    credentials.set(&cx.client.base(), saved);
    credentials.save(&cx.env)?;
    if let Err(failure) = git::install_helper(&cx.env, &cx.client.base()) {
        cx.ui.warn(&format!("git will ask for the token on a push: {failure}"));
    }
    Ok(())
}

async fn by_token(cx: &Cx) -> Result<Saved> {
    let token = cx.ui.read_input(TOKEN_BYTES)?.trim().to_string();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::refused("Standard input holds no token: one word is wanted"));
    }
    let account = cx.client.with_auth(Auth::Token(token.clone())).get("/account").await?;
    Ok(Saved { email: text(&account, "/email").to_string(), token, authorization: None })
}

async fn by_password(cx: &Cx, expires_in: Option<u64>) -> Result<Saved> {
    if !cx.ui.asks {
        return Err(Failure::with_hint(
            "login asks for e-mail and password, and standard input is no terminal.",
            "In a script: senryu login --token-stdin < FILE",
        ));
    }
    cx.ui.say(&format!("Enter your login credentials for {}\n", cx.client.base()));
    let email = cx.ui.answer("Email: ")?.unwrap_or_default().trim().to_string();
    if email.is_empty() {
        return Err(Failure::refused("No e-mail address given"));
    }
    let password = terminal::password("Password: ")?;
    let host = nix::unistd::gethostname().unwrap_or_default();
    let mut body = json!({
        "description": format!("Senryu CLI login from {}", host.to_string_lossy()),
        "scope": ["global"],
    });
    if let Some(seconds) = expires_in {
        body["expires_in"] = json!(seconds);
    }
    let login = async |client: &Client| client.post("/oauth/authorizations", &body).await;
    let authorization = match with_code(cx, &email, &password, login).await {
        Err(failure) if failure.wants_new_password() => {
            cx.ui.say("This password has been on a screen. Choose one of your own:\n");
            let new = new_password()?;
            change(cx, &email, &password, &new).await?;
            with_code(cx, &email, &new, login).await?
        }
        other => other?,
    };
    saved_from(&authorization, email)
}

/// Changes a password that may be good for nothing else.
async fn change(cx: &Cx, email: &str, current: &str, new: &str) -> Result<Value> {
    let body = json!({ "password": current, "new_password": new });
    with_code(cx, email, current, async |client: &Client| client.patch("/account", &body).await)
        .await
}

/// Comes by e-mail and password. Asks for a code once the server wants one, and again where it was
/// wrong.
async fn with_code(
    cx: &Cx,
    email: &str,
    password: &str,
    ask: impl AsyncFn(&Client) -> Result<Value>,
) -> Result<Value> {
    let mut code = None;
    for asked in 0.. {
        let (email, password) = (email.to_string(), password.to_string());
        let is_second = code.is_some();
        let client = cx.client.with_auth(Auth::Password { email, password, code });
        let failure = match ask(&client).await {
            Err(failure) if failure.wants_code() && asked < CODES => failure,
            other => return other,
        };
        if is_second {
            cx.ui.warn(&failure.to_string());
        }
        let typed = cx.ui.answer("Two-factor code: ")?.unwrap_or_default();
        // It goes into a header.
        let typed: String = typed.chars().filter(char::is_ascii_graphic).collect();
        if typed.is_empty() {
            return Err(failure);
        }
        code = Some(typed);
    }
    Err(Failure::refused("No code given"))
}

fn saved_from(authorization: &Value, typed: String) -> Result<Saved> {
    let token = text(authorization, "/access_token/token").to_string();
    if token.is_empty() {
        return Err(Failure::refused("The server answered without a token"));
    }
    let email = match text(authorization, "/user/email") {
        "" => typed,
        email => email.to_string(),
    };
    let id = text(authorization, "/id");
    Ok(Saved { email, token, authorization: (!id.is_empty()).then(|| id.to_string()) })
}

async fn logout(cx: &Cx) -> Result {
    let base = cx.client.base();
    let mut credentials = Credentials::load(&cx.env)?;
    let saved = credentials.remove(&base);
    let work = async {
        let revoked = match &saved {
            Some(saved) => revoke(cx, saved).await,
            None => Ok(()),
        };
        credentials.save(&cx.env)?;
        git::remove_helper(&cx.env, &base);
        Ok(revoked)
    };
    let revoked = cx.ui.action("Logging out", work, |_| "done".to_string()).await?;
    if let Err(failure) = revoked {
        cx.ui.warn(&format!("The server still knows the token: {failure}"));
    }
    if cx.env.var("SENRYU_API_KEY").is_some() {
        cx.ui.warn("SENRYU_API_KEY is still set and goes on being used");
    }
    Ok(())
}

/// Ends the saved token on the server. One that it has forgotten already is as good.
async fn revoke(cx: &Cx, saved: &Saved) -> Result {
    let client = cx.client.with_auth(Auth::Token(saved.token.clone()));
    let id = saved.authorization.as_deref().map_or("~".to_string(), segment);
    let result = client.delete(&format!("/oauth/authorizations/{id}")).await;
    match result {
        // The token is not taken, so there is nothing left to revoke.
        Err(Failure::LoggedOut { .. }) => Ok(()),
        Err(failure) if failure.is_api(404) => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn whoami(cx: &Cx) -> Result {
    if cx.env.var("SENRYU_API_KEY").is_some() {
        cx.ui.warn("SENRYU_API_KEY is set");
    }
    let account = cx.client.get("/account").await?;
    cx.ui.line(text(&account, "/email"))
}

async fn second_factor(cx: &Cx) -> Result {
    let account = cx.client.get("/account").await?;
    let is_on = account.get("two_factor_authentication") == Some(&Value::Bool(true));
    let state = if is_on { "enabled" } else { "not enabled" };
    cx.ui.line(format!("Two-factor authentication is {state}"))?;
    cx.ui.say(&format!("To change that: {}/console/account/second-factor\n", cx.client.base()));
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "Your sessions in the console end; tokens go on. A password that somebody \
                        made for you is changed with --email, before anything else. Who has \
                        forgotten the password asks root on the server's machine: \
                        senryu admin:password EMAIL")]
pub struct Password {
    /// Whose password it is, for whoever is not logged in
    #[arg(long, value_name = "EMAIL")]
    email: Option<String>,
    /// Read the password of now and the new one from standard input, a line each
    #[arg(long)]
    stdin: bool,
}

async fn password(cx: &Cx, args: Password) -> Result {
    let (current, new) = match args.stdin {
        true => {
            let input = cx.ui.read_input(PASSWORDS_BYTES)?;
            let mut lines = input.lines().map(str::to_string);
            let (Some(current), Some(new), None) = (lines.next(), lines.next(), lines.next())
            else {
                return Err(Failure::refused(
                    "Standard input must have two lines: the password of now, and the new one",
                ));
            };
            (current, new)
        }
        false => typed_passwords(cx)?,
    };
    let done = |_: &Value| "done".to_string();
    let changed = match &args.email {
        Some(email) => {
            cx.client.may_log_in()?;
            let change = change(cx, email, &current, &new);
            cx.ui.action("Changing your password", change, done).await
        }
        None => {
            let body = json!({ "password": current, "new_password": new });
            let change = cx.client.patch("/account", &body);
            cx.ui.action("Changing your password", change, done).await
        }
    };
    changed.map(|_| ())
}

fn typed_passwords(cx: &Cx) -> Result<(String, String)> {
    if !cx.ui.asks {
        return Err(Failure::with_hint(
            "auth:password asks for passwords, and standard input is no terminal.",
            "In a script: senryu auth:password --stdin < FILE",
        ));
    }
    let current = terminal::password("Password: ")?;
    Ok((current, new_password()?))
}

fn new_password() -> Result<String> {
    let new = terminal::password("New password: ")?;
    match terminal::password("New password, again: ")? == new {
        true => Ok(new),
        false => Err(Failure::refused("The new password is not the same both times.")),
    }
}

fn token(cx: &Cx) -> Result {
    match cx.client.token() {
        Some(token) => cx.ui.line(token),
        None => Err(Failure::with_hint("not logged in", "Log in first: senryu login")),
    }
}
