impl exports::lockgate::plugin::input::Guest for Component {
    type ExtraAskVerdict = sdk::Never;
    fn on_ask(
        ask: &sdk::raw::context::Ask,
    ) -> ::core::result::Result<exports::lockgate::plugin::input::AskVerdict, sdk::raw::types::Failure> {
        FILTER.with(|slot| {
            slot.with(|filter| <Filter as ::lockgate_plugin::OnInput>::on_ask(filter, sdk::ask(ask)).map(ask_verdict))
        })
    }
    fn on_answer(
        ask: &sdk::raw::context::Ask,
    ) -> ::core::result::Result<exports::lockgate::plugin::input::AskVerdict, sdk::raw::types::Failure> {
        FILTER.with(|slot| {
            slot.with(|filter| {
                <Filter as ::lockgate_plugin::OnInput>::on_answer(filter, sdk::ask(ask)).map(ask_verdict)
            })
        })
    }
}
impl exports::lockgate::plugin::input::GuestExtraAskVerdict for sdk::Never {}
fn ask_verdict(verdict: ::lockgate_plugin::AskVerdict) -> exports::lockgate::plugin::input::AskVerdict {
    use exports::lockgate::plugin::input::AskVerdict;
    match verdict {
        ::lockgate_plugin::AskVerdict::Pass => AskVerdict::Pass,
        ::lockgate_plugin::AskVerdict::Answer(result) => AskVerdict::Answer(result),
        ::lockgate_plugin::AskVerdict::Refuse(refusal) => AskVerdict::Refuse(sdk::rejection(refusal)),
    }
}
