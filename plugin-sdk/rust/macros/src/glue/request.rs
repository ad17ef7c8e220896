impl exports::lockgate::plugin::request::Guest for Component {
    fn on_request(
        call: &sdk::raw::context::Call,
    ) -> ::core::result::Result<sdk::raw::types::Verdict, sdk::raw::types::Failure> {
        FILTER.with(|slot| {
            slot.with(|filter| {
                <Filter as ::lockgate_plugin::OnRequest>::on_request(filter, sdk::call(call)).map(sdk::verdict)
            })
        })
    }
}
