//! What journeys have in common: a server and browsers, signing in, choosing, saving, being told.

use crate::browser::{Browser, Driver};
use crate::server::{ADMIN, Server};

/// A server with that in its configuration, and what opens browsers; `None` where there are none.
pub async fn begin(more: &str) -> Option<(Driver, Server)> {
    let driver = Driver::start().await?;
    Some((driver, Server::start_with(more)))
}

impl Driver {
    /// A browser in which somebody has signed in, in that language.
    pub async fn person(&self, server: &Server, id: &str, language: &str) -> Browser {
        let browser = self.open(language).await;
        browser.sign_in(&server.page, id).await;
        browser
    }

    /// A browser in which the administrator has signed in, in that language.
    pub async fn administrator(&self, server: &Server, language: &str) -> Browser {
        let browser = self.open(language).await;
        browser.administer(&server.page, ADMIN).await;
        browser
    }
}

impl Browser {
    /// Types into the form for signing in that is shown.
    pub async fn enter(&self, id: &str, password: &str) {
        self.fill("input[name=id]", id).await;
        self.fill("input[name=password]", password).await;
        self.click(".signin .primary").await;
    }

    /// Signs somebody in who has the password that every test gives them.
    pub async fn sign_in(&self, page: &str, id: &str) {
        self.client.goto(page).await.unwrap();
        self.enter(id, &format!("{id}-secret")).await;
        self.find(".view-status #pick").await;
    }

    /// Signs the administrator in.
    pub async fn administer(&self, page: &str, token: &str) {
        self.client.goto(page).await.unwrap();
        self.click(".signin .link").await;
        self.fill("input[name=token]", token).await;
        self.click(".signin .primary").await;
        self.find(".view-people h1").await;
    }

    /// Chooses a status in the menu behind the picture: two clicks.
    pub async fn choose(&self, status: &str) {
        self.click("#pick").await;
        self.click(&format!(".statuses [value={status}]")).await;
    }

    /// Saves the form that is shown, which says so.
    pub async fn save(&self, saved: &str) {
        self.click(".bar .primary").await;
        self.told(saved).await;
    }

    /// Waits until a message says this.
    pub async fn told(&self, text: &str) {
        self.wait_for_text("#toasts", text).await;
    }

    /// Does something in the page.
    pub async fn run(&self, script: &str) {
        self.client.execute(script, vec![]).await.unwrap();
    }
}
