//! Parts of the list of apps: those that somebody may see, found, sorted and cut in SQL, so that a
//! page costs what is on it.

use super::apps::{SELECT, app};
use crate::error::{Context, Result};
use crate::model::{App, UserId};
use rusqlite::{Connection, Params, params};

/// The first value is a user, or nothing where all apps may be seen.
const MAY_SEE: &str = "(?1 IS NULL OR a.owner_id = ?1
     OR a.id IN (SELECT app_id FROM collaborators WHERE user_id = ?1))";

/// A page of the apps whose name or owner contains a text.
#[derive(Debug)]
pub struct AppPage {
    pub apps: Vec<App>,
    /// Apps in which the text was found, and apps that may be seen at all.
    pub found: usize,
    pub all: usize,
    /// From 1 on: the one that was asked for, or the last.
    pub page: usize,
    pub pages: usize,
}

pub fn page(
    db: &Connection,
    user: Option<UserId>,
    text: &str,
    page: usize,
    size: usize,
) -> Result<AppPage> {
    const FITS: &str = "(?2 = '' OR instr(a.name, ?2) OR instr(lower(u.email), ?2))";
    let user = user.map(|id| id.to_string());
    let (all, found): (i64, i64) = db
        .prepare_cached(&format!(
            "SELECT count(*), count(*) FILTER (WHERE {FITS})
             FROM apps a JOIN users u ON u.id = a.owner_id WHERE {MAY_SEE}"
        ))
        .context("count apps")?
        .query_row(params![user, text], |row| Ok((row.get(0)?, row.get(1)?)))
        .context("count apps")?;
    let (all, found) = (usize::try_from(all).unwrap_or(0), usize::try_from(found).unwrap_or(0));
    let pages = found.div_ceil(size).max(1);
    let page = page.clamp(1, pages);
    let bound = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let rest = format!("WHERE {MAY_SEE} AND {FITS} ORDER BY a.name LIMIT ?3 OFFSET ?4");
    let values = params![user, text, bound(size), bound((page - 1) * size)];
    let apps = select(db, &rest, values)?;
    Ok(AppPage { apps, found, all, page, pages })
}

/// What a list can be sorted by here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Id,
    Name,
}

/// Where a part of the list begins and ends; both are in it, unless the beginning is excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    pub by: By,
    pub from: Option<String>,
    pub exclusive: bool,
    pub to: Option<String>,
    pub descending: bool,
    pub most: usize,
}

pub fn within(db: &Connection, user: Option<UserId>, bounds: &Bounds) -> Result<Vec<App>> {
    let column = match bounds.by {
        By::Id => "a.id",
        By::Name => "a.name",
    };
    let (after, before, order) = match bounds.descending {
        false => (">", "<", "ASC"),
        true => ("<", ">", "DESC"),
    };
    let equal = if bounds.exclusive { "" } else { "=" };
    let rest = format!(
        "WHERE {MAY_SEE} AND (?2 IS NULL OR {column} {after}{equal} ?2)
         AND (?3 IS NULL OR {column} {before}= ?3) ORDER BY {column} {order} LIMIT ?4"
    );
    let user = user.map(|id| id.to_string());
    let most = i64::try_from(bounds.most).unwrap_or(i64::MAX);
    select(db, &rest, params![user, bounds.from, bounds.to, most])
}

fn select(db: &Connection, rest: &str, values: impl Params) -> Result<Vec<App>> {
    let mut query = db.prepare_cached(&format!("{SELECT} {rest}")).context("read apps")?;
    let rows = query.query_map(values, app).context("read apps")?;
    rows.collect::<rusqlite::Result<_>>().context("read apps")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const ADA: &str = "00000000-0000-4000-8000-00000000000a";
    const BOB: &str = "00000000-0000-4000-8000-00000000000b";

    /// 120 apps of Ada, of which Bob may see every tenth and has one of his own.
    async fn store(dir: &std::path::Path) -> Store {
        let store = Store::open(&dir.join("state.db")).unwrap();
        let fill = move |db: &rusqlite::Transaction<'_>| {
            for (id, email) in [(ADA, "Ada@example.com"), (BOB, "bob@example.com")] {
                db.execute(
                    "INSERT INTO users
                     (id, email, password_hash, admin, created_at, updated_at)
                     VALUES (?, ?, '', 0, 1, 1)",
                    [id, email],
                )
                .context("insert")?;
            }
            for number in 0..=120 {
                let (id, owner) = (uuid(number), if number == 120 { BOB } else { ADA });
                let name = format!("shop-{number:03}");
                db.execute(
                    "INSERT INTO apps (id, name, owner_id, stack, created_at, updated_at)
                     VALUES (?, ?, ?, 'heroku-24', 1, 1)",
                    [&id, &name, owner],
                )
                .context("insert")?;
                if number % 10 == 5 {
                    db.execute(
                        "INSERT INTO collaborators VALUES (?1, ?1, ?2, 'view', 1, 1)",
                        [&id, BOB],
                    )
                    .context("insert")?;
                }
            }
            Ok(())
        };
        store.write(fill).await.unwrap();
        store
    }

    /// Ids fall as names rise.
    fn uuid(number: u32) -> String {
        format!("00000000-0000-4000-9000-{:012}", 1000 - number)
    }

    fn names(apps: &[App]) -> Vec<&str> {
        apps.iter().map(|app| app.name.as_str()).collect()
    }

    #[tokio::test]
    async fn a_page_has_what_its_reader_may_see_and_looks_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let bob: UserId = BOB.parse().unwrap();
        let look = async |user, text: &'static str, number| {
            store.read(move |db| page(db, user, text, number, 50)).await.unwrap()
        };
        let all = look(None, "", 3).await;
        assert_eq!((all.all, all.found, all.page, all.pages), (121, 121, 3, 3));
        assert_eq!(names(&all.apps).first(), Some(&"shop-100"));
        assert_eq!(all.apps.len(), 21);
        assert_eq!(look(None, "", 99).await.page, 3, "there is no page behind the last");
        assert_eq!(look(None, "p-11", 1).await.found, 10);
        assert_eq!(look(None, "ada@", 1).await.found, 120, "whatever case it was written in");
        let none = look(None, "%", 1).await;
        assert_eq!((none.all, none.found, none.pages), (121, 0, 1), "nothing stands for anything");
        let his = look(Some(bob), "", 1).await;
        assert_eq!((his.all, his.apps.len()), (13, 13));
        assert_eq!(names(&his.apps)[..2], ["shop-005", "shop-015"]);
        assert_eq!(names(&look(Some(bob), "bob@", 1).await.apps), ["shop-120"]);
    }

    #[tokio::test]
    async fn bounds_are_in_a_range_unless_it_says_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path()).await;
        let range = async |user: Option<UserId>, bounds: Bounds| {
            store.read(move |db| within(db, user, &bounds)).await.unwrap()
        };
        let bounds = |by, from: &str, exclusive, to: Option<&str>, descending| Bounds {
            by,
            from: Some(from.to_string()),
            exclusive,
            to: to.map(str::to_string),
            descending,
            most: 2,
        };
        let by_name = bounds(By::Name, "shop-001", false, None, false);
        assert_eq!(names(&range(None, by_name.clone()).await), ["shop-001", "shop-002"]);
        let after = Bounds { exclusive: true, to: Some("shop-002".to_string()), ..by_name };
        assert_eq!(names(&range(None, after).await), ["shop-002"]);
        let down = bounds(By::Name, "shop-020", true, Some("shop-005"), true);
        let bob = Some(BOB.parse().unwrap());
        assert_eq!(names(&range(bob, down).await), ["shop-015", "shop-005"]);
        let by_id = bounds(By::Id, &uuid(7), false, None, false);
        assert_eq!(names(&range(None, by_id).await), ["shop-007", "shop-006"]);
    }
}
