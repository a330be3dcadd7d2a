//! What people set about themselves, and what others then do for them.

use serde_json::json;

use crate::browser::Driver;
use crate::provider::Provider;
use crate::server::{ADMIN, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_is_named_and_sets_the_status_which_tells_who_it_was() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let server = Server::start();
    let (anna, bob) = (driver.open("de").await, driver.open("en").await);
    anna.sign_in(&server.page, "anna").await;
    anna.show("settings/personal").await;
    anna.fill("[data-field=delegate] input", "nobody here")
        .await;
    anna.click(".with-button button").await;
    anna.find("[data-field=delegate] .fault:not([hidden])")
        .await;
    anna.fill("[data-field=delegate] input", "Bob Bauer").await;
    anna.click(".with-button button").await;
    anna.wait_for_text(".chosen", "Bob Bauer").await;
    let named = server.get("subscribers/anna/delegates");
    assert_eq!(named["delegates"], json!(["bob"]));
    bob.sign_in(&server.page, "bob").await;
    bob.show("settings/personal").await;
    bob.wait_for_text(".view-settings", "You may set the status of")
        .await;
    bob.show("colleagues").await;
    bob.click("li[data-id=anna] .tool").await;
    bob.click(".option:has([value=away])").await;
    bob.fill("input[name=message]", "Ill until Monday").await;
    bob.click("dialog .primary").await;
    bob.wait_for_text("li[data-id=anna]", "ordered by Bob Bauer")
        .await;
    anna.show("status").await;
    anna.wait_for_text(".sentence", "angeordnet von Bob Bauer")
        .await;
    anna.wait_for_text(".hero", "Ill until Monday").await;
    bob.click("li[data-id=anna] .tool").await;
    bob.click("dialog .content > button").await;
    bob.wait_until("!document.querySelector('li[data-id=anna]').textContent.includes('Bob Bauer')")
        .await;
    anna.wait_for_text("#pick", "Anwesend").await;
    anna.show("settings/personal").await;
    anna.click(".chosen .tool").await;
    server.until("nobody is left", "subscribers/anna/delegates", |found| {
        found["delegates"] == json!([])
    });
    anna.close().await;
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_messages_is_set_for_each_status() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let server = Server::start();
    let anna = driver.open("en").await;
    anna.sign_in(&server.page, "anna").await;
    anna.show("settings/dnd").await;
    anna.click("[data-field=chat] option[value=suppress]").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text("#toasts", "Saved").await;
    let saved = server.get("subscribers/anna/settings");
    assert_eq!(saved["dnd"], json!({"chat": "suppress"}));
    anna.show("settings/all").await;
    anna.click("[data-field=chat] option[value=reject]").await;
    anna.click(".bar .primary").await;
    anna.wait_for_text("#toasts", "Saved").await;
    anna.show("settings/away").await;
    anna.wait_for_text(
        "[data-field=chat] option:first-child",
        "As all statuses: refused",
    )
    .await;
    anna.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_at_the_provider_and_out_again() {
    let Some(driver) = Driver::start().await else {
        return;
    };
    let provider = Provider::start().await;
    let oidc = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"page\"\nlabel = \"Company login\"\n\
         passwords = false\n",
        provider.issuer
    );
    let server = Server::start_with(&oidc);
    let browser = driver.open("en").await;
    browser.client.goto(&server.page).await.unwrap();
    browser
        .wait_for_text(".signin .button", "Company login")
        .await;
    browser
        .wait_until("document.querySelector('input[name=password]') === null")
        .await;
    provider.sign_in(None);
    browser.click(".signin .button").await;
    browser
        .wait_for_text(".signin .fault", "cancelled or refused")
        .await;
    provider.sign_in(Some("nobody"));
    browser.click(".signin .button").await;
    browser
        .wait_for_text(".signin .fault", "nobody here has that name")
        .await;
    provider.sign_in(Some("anna"));
    browser.click(".signin .button").await;
    browser.find(".view-status #pick").await;
    browser.wait_for_text(".hero .name", "Anna Arndt").await;
    browser.click(".more summary").await;
    browser.click(".sheet button:last-child").await;
    browser.find("#ended").await;
    browser.client.goto(&server.page).await.unwrap();
    browser.find(".signin .button").await;
    browser.click(".signin .link").await;
    browser.fill("input[name=token]", ADMIN).await;
    browser.click(".signin [type=submit]").await;
    browser.find(".view-people h1").await;
    browser.close().await;
}
