//! The nouns, without I/O and without serde: what the wire or the database looks like is the
//! business of `api` and `store`.

pub mod app;
pub mod audit;
pub mod auto_certificate;
pub mod buildpack;
pub mod collaborator;
pub mod config_vars;
pub mod domain;
pub mod dyno;
pub mod egress;
pub mod https;
pub mod id;
pub mod permission;
pub mod procfile;
pub mod release;
pub mod size;
pub mod sni_endpoint;
pub mod user;

pub use app::{App, AppName};
pub use audit::AuditEntry;
pub use auto_certificate::{AutoCertificate, AutoState};
pub use buildpack::Buildpack;
pub use collaborator::Collaborator;
pub use config_vars::ConfigVars;
pub use domain::{Domain, Hostname};
pub use dyno::{DynoName, DynoState, Formation, ProcessType, WindowSize};
pub use egress::Egress;
pub use https::Https;
pub use id::{AppId, BuildId, CollaboratorId, DomainId, ReleaseId, SlugId, SniEndpointId, UserId};
pub use permission::{Permission, Permissions};
pub use procfile::Procfile;
pub use release::{AppImage, Build, BuildStatus, Release, ReleaseStatus, Slug, SourceBlob};
pub use size::{Size, Sizes};
pub use sni_endpoint::SniEndpoint;
pub use user::{Caller, User};
