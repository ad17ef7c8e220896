impl exports::lockgate::plugin::upstream::Guest for Component {
    type ExtraExchangeVerdict = sdk::Never;
    fn on_exchange(
        exchange: &sdk::raw::context::Exchange,
    ) -> ::core::result::Result<
        exports::lockgate::plugin::upstream::ExchangeVerdict,
        sdk::raw::types::Failure,
    > {
        use exports::lockgate::plugin::upstream::ExchangeVerdict;
        FILTER.with(|slot| {
            slot.with(|filter| {
                let verdict = <Filter as ::lockgate_plugin::OnUpstream>::on_upstream(filter, sdk::exchange(exchange))?;
                ::core::result::Result::Ok(match verdict {
                    ::lockgate_plugin::ExchangeVerdict::Proceed => ExchangeVerdict::Proceed,
                    ::lockgate_plugin::ExchangeVerdict::Reject(rejection) => {
                        ExchangeVerdict::Reject(sdk::rejection(rejection))
                    }
                })
            })
        })
    }
}
impl exports::lockgate::plugin::upstream::GuestExtraExchangeVerdict for sdk::Never {}
