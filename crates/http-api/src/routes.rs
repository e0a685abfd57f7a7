//! The route table: what the tests of every route run over.

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody who reaches the socket; the request authenticates itself.
    Open,
    /// A person with an enrolled key; the operation checks their role.
    Person,
    /// A client with an enrolled key, which signs an assertion for each request.
    Client,
}

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path, with `{name}` for parameters.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Whether it changes state.
    pub mutates: bool,
}

const fn open(method: &'static str, path: &'static str) -> Route {
    Route {
        method,
        path,
        access: Access::Open,
        mutates: true,
    }
}

const fn read(path: &'static str) -> Route {
    Route {
        method: "GET",
        path,
        access: Access::Person,
        mutates: false,
    }
}

const fn change(path: &'static str) -> Route {
    Route {
        method: "POST",
        path,
        access: Access::Person,
        mutates: true,
    }
}

/// Every route of the admin API.
pub const ROUTES: &[Route] = &[
    open("POST", "/token"),
    read("/v1/people"),
    change("/v1/people"),
    change("/v1/people/{name}/remove"),
    read("/v1/agents"),
    change("/v1/agents"),
    change("/v1/agents/{name}/activate"),
    change("/v1/agents/{name}/suspend"),
    change("/v1/agents/{name}/retire"),
    read("/v1/servers"),
    change("/v1/servers"),
    read("/v1/services"),
    change("/v1/services"),
    change("/v1/services/{name}/retire"),
    read("/v1/upstreams"),
    change("/v1/upstreams"),
    change("/v1/upstreams/{name}/rotate"),
    change("/v1/upstreams/{name}/retire"),
    read("/v1/policy"),
    change("/v1/policy"),
    read("/v1/tasks"),
    change("/v1/tasks"),
    read("/v1/tasks/{id}"),
    read("/v1/tasks/{id}/trace"),
    read("/v1/decisions/{id}/proof"),
    change("/v1/tasks/{id}/end"),
    change("/v1/tasks/{id}/freeze"),
    change("/v1/tasks/{id}/resume"),
    change("/v1/tasks/{id}/erase"),
    change("/v1/runs"),
    change("/v1/kills"),
    read("/v1/approvals"),
    read("/v1/approvals/{id}"),
    change("/v1/approvals/{id}/answer"),
    read("/v1/points"),
    change("/v1/join-tokens"),
];

const fn published(path: &'static str) -> Route {
    Route {
        method: "GET",
        path,
        access: Access::Open,
        mutates: false,
    }
}

/// Every route that anybody on the machine may read.
pub const PUBLIC_ROUTES: &[Route] = &[
    published("/live"),
    published("/ready"),
    published("/metrics"),
    published("/spiffe/bundle"),
    published("/spiffe/bundle.pem"),
    published("/log/checkpoint"),
    published("/log/tile/{*path}"),
];

const fn client(path: &'static str, mutates: bool) -> Route {
    Route {
        method: "POST",
        path,
        access: Access::Client,
        mutates,
    }
}

/// Every route of the OAuth endpoints on the network.
pub const OAUTH_ROUTES: &[Route] = &[
    published("/.well-known/oauth-authorization-server"),
    published("/jwks.json"),
    client("/token", true),
    client("/introspect", false),
    client("/revoke", true),
];
