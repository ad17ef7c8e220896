impl exports::lockgate::plugin::catalog::Guest for Component {
    fn on_definitions(
        definitions: &sdk::raw::context::Definitions,
    ) -> ::core::result::Result<(), sdk::raw::types::Failure> {
        FILTER.with(|slot| {
            slot.with(|filter| {
                <Filter as ::lockgate_plugin::Catalog>::on_definitions(filter, sdk::definitions(definitions))
            })
        })
    }
}
