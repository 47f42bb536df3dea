# Shell assignments for what the build must know of package.json. Anything of an unexpected type
# counts as absent, except where a message of its own says so.
def text: if type == "string" then . else "" end;
def engine(name): (.engines | objects | .[name] | text) // "";
def script(name): (.scripts | objects | .[name] | text) // "";
def has_any(name): (.[name] | objects | length > 0) // false;
def is_local: test("^(file|link|portal|workspace):|^(\\.\\.?|~)?/|^\\.\\.?$");
def local_dependencies:
  [.dependencies, .devDependencies, .optionalDependencies | objects | .[] | strings
    | select(is_local)]
    + [.overrides, .resolutions, (.pnpm | objects | .overrides) | .. | strings | select(is_local)]
  | length > 0;
def lifecycle:
  [script("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare",
    "postprepare", "predependencies", "dependencies", "postdependencies", "pnpm:devPreinstall")
    | select(. != "")] | length > 0;
def cache_directories:
  [(.cacheDirectories // .cache_directories // []) | arrays | .[] | strings] | join("\n");

if type != "object" then error("package.json does not hold an object") else . end
| "NODE_RANGE=\(engine("node") | @sh)",
  "NPM_RANGE=\(engine("npm") | @sh)",
  "YARN_RANGE=\(engine("yarn") | @sh)",
  "PNPM_RANGE=\(engine("pnpm") | @sh)",
  "PACKAGE_MANAGER=\(.packageManager | text | @sh)",
  "START_SCRIPT=\(script("start") | @sh)",
  "HAS_DEPENDENCIES=\(has_any("dependencies") or has_any("optionalDependencies"))",
  "HAS_DEV_DEPENDENCIES=\(has_any("devDependencies"))",
  "HAS_LIFECYCLE=\(lifecycle)",
  "HAS_LOCAL_DEPENDENCIES=\(local_dependencies)",
  "HAS_WORKSPACES=\(.workspaces != null)",
  "CACHE_DIRECTORIES=\(cache_directories | @sh)",
  "SCRIPT_NAMES=\([.scripts | objects | to_entries[] | select(.value | text != "") | .key]
    | join("\n") | @sh)",
  "DEPENDENCY_TEXT=\({dependencies, devDependencies, optionalDependencies, peerDependencies,
    peerDependenciesMeta, dependenciesMeta, overrides, resolutions, bundledDependencies,
    bundleDependencies, pnpm, allowScripts, trustedDependencies, workspaces, engines,
    packageManager} | tojson | @sh)"
