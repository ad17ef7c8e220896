impl exports::lockgate::plugin::notification::Guest for Component {
    type ExtraDelivery = sdk::Never;
    fn on_notification(
        message: &sdk::raw::context::Notification,
    ) -> ::core::result::Result<exports::lockgate::plugin::notification::Delivery, sdk::raw::types::Failure> {
        use exports::lockgate::plugin::notification::Delivery;
        FILTER.with(|slot| {
            slot.with(|filter| {
                let delivery =
                    <Filter as ::lockgate_plugin::OnNotification>::on_notification(filter, sdk::notification(message))?;
                ::core::result::Result::Ok(match delivery {
                    ::lockgate_plugin::Delivery::Pass => Delivery::Pass,
                    ::lockgate_plugin::Delivery::Drop => Delivery::Drop,
                })
            })
        })
    }
}
impl exports::lockgate::plugin::notification::GuestExtraDelivery for sdk::Never {}
