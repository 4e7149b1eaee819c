//! The specification of the admin API, derived from the handlers and the types they read and write.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use super::answers::ErrorAnswer;
use super::{clients, handlers, ledger};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "potluck admin API",
        description = "Donated OpenRouter keys: adding and removing them, their health, and what the pool does and \
            spends; and the clients that may use it. When a token is set, every call but `/health` and `/ready` needs it as `Authorization: Bearer …`. \
            Calls from pages of other origins and calls with a foreign `Host` are refused. Every refusal is an \
            `ErrorAnswer`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "pool", description = "What there is"),
        (name = "keys", description = "Donating, withdrawing, limiting, and saying how a key is"),
        (name = "clients", description = "Who may use the pool"),
        (name = "ledger", description = "Where the money went"),
        (name = "operation", description = "For load balancers, Prometheus and tools"),
    ),
    paths(
        handlers::status,
        handlers::keys,
        handlers::donate,
        handlers::change,
        handlers::withdraw,
        handlers::set_health,
        clients::clients,
        clients::add,
        clients::client,
        clients::users,
        clients::change,
        clients::revoke,
        clients::rotate,
        ledger::ledger,
        ledger::summary,
        ledger::open,
        ledger::settle,
        ledger::receipt,
        handlers::metrics,
        handlers::live,
        handlers::ready,
        handlers::specification,
    ),
    security((), ("token" = [])),
    modifiers(&TokenScheme, &GuardAnswers),
)]
struct Specification;

/// Bearer tokens.
struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The admin token; needed when one is set."))
            .build();
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// What the guards answer, whatever is called.
struct GuardAnswers;

impl GuardAnswers {
    const ALL: [(&str, &str); 4] = [
        ("400", "Not a well-formed call"),
        ("403", "Sent by a page of another origin"),
        ("421", "The `Host` header does not name this listener"),
        ("500", "A fault in potluck"),
    ];
    const WITH_TOKEN: [(&str, &str); 2] =
        [("401", "The admin token is missing or wrong"), ("429", "Too many wrong tokens from this address")];
    const WITH_BODY: [(&str, &str); 1] = [("408", "The body did not arrive whole and in time")];
}

impl Modify for GuardAnswers {
    fn modify(&self, document: &mut Document) {
        let refusal = Ref::from_schema_name(ErrorAnswer::name());
        for path in document.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete].into_iter().flatten() {
                let mut answers = Self::ALL.to_vec();
                if operation.security.is_none() {
                    answers.extend(Self::WITH_TOKEN);
                }
                if operation.request_body.is_some() {
                    answers.extend(Self::WITH_BODY);
                }
                for (status, description) in answers {
                    let content = ContentBuilder::new().schema(Some(refusal.clone())).build();
                    let response =
                        ResponseBuilder::new().description(description).content("application/json", content).build();
                    operation.responses.responses.entry(status.to_owned()).or_insert(response.into());
                }
            }
        }
    }
}

/// The specification.
pub(super) fn document() -> Document {
    Specification::openapi()
}
