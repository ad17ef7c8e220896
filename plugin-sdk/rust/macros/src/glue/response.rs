impl exports::lockgate::plugin::response::Guest for Component {
    fn on_response(
        call: &sdk::raw::context::Call,
    ) -> ::core::result::Result<sdk::raw::types::Verdict, sdk::raw::types::Failure> {
        FILTER.with(|slot| {
            slot.with(|filter| {
                <Filter as ::lockgate_plugin::OnResponse>::on_response(filter, sdk::call(call)).map(sdk::verdict)
            })
        })
    }
}
