impl exports::lockgate::plugin::access::Guest for Component {
    fn decide(
        items: &sdk::raw::context::Items,
    ) -> ::core::result::Result<
        ::std::vec::Vec<exports::lockgate::plugin::access::Visibility>,
        sdk::raw::types::Failure,
    > {
        use exports::lockgate::plugin::access::Visibility;
        FILTER.with(|slot| {
            slot.with(|filter| {
                let answers = <Filter as ::lockgate_plugin::Access>::decide(filter, sdk::items(items))?;
                ::core::result::Result::Ok(
                    answers
                        .into_iter()
                        .map(|answer| match answer {
                            ::lockgate_plugin::Visibility::Hidden => Visibility::Hidden,
                            ::lockgate_plugin::Visibility::Visible => Visibility::Visible,
                        })
                        .collect(),
                )
            })
        })
    }
}
