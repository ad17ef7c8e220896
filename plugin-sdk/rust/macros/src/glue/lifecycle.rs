impl exports::lockgate::plugin::lifecycle::Guest for Component {
    fn configure(config: ::std::string::String) -> ::core::result::Result<(), sdk::raw::types::Failure> {
        FILTER.with(|slot| slot.configure(&config))
    }
    fn self_test() -> ::core::result::Result<(), sdk::raw::types::Failure> {
        FILTER.with(|slot| slot.with(|filter| <Filter as ::lockgate_plugin::Filter>::self_test(filter)))
    }
}
