impl exports::lockgate::plugin::authenticate::Guest for Component {
    type ExtraIdentity = sdk::Never;
    type ExtraRefusal = sdk::Never;
    type ExtraDecision = sdk::Never;
    fn authenticate(
        request: &sdk::raw::context::Head,
    ) -> ::core::result::Result<exports::lockgate::plugin::authenticate::Decision, sdk::raw::types::Failure> {
        use exports::lockgate::plugin::authenticate as raw;
        FILTER.with(|slot| {
            slot.with(|filter| {
                let decision = <Filter as ::lockgate_plugin::Authenticate>::authenticate(filter, sdk::head(request))?;
                ::core::result::Result::Ok(match decision {
                    ::lockgate_plugin::Decision::Skip => raw::Decision::Skip,
                    ::lockgate_plugin::Decision::Accept(identity) => raw::Decision::Accept(raw::Identity {
                        id: identity.id,
                        issuer: identity.issuer,
                        claims: identity.claims,
                        expires_at: identity.expires_at,
                        keep_seconds: identity.keep_seconds,
                        extra: ::core::option::Option::None,
                    }),
                    ::lockgate_plugin::Decision::Refuse(refusal) => raw::Decision::Refuse(raw::Refusal {
                        status: refusal.status,
                        challenge: refusal.challenge,
                        message: refusal.message,
                        extra: ::core::option::Option::None,
                    }),
                })
            })
        })
    }
}
impl exports::lockgate::plugin::authenticate::GuestExtraIdentity for sdk::Never {}
impl exports::lockgate::plugin::authenticate::GuestExtraRefusal for sdk::Never {}
impl exports::lockgate::plugin::authenticate::GuestExtraDecision for sdk::Never {}
