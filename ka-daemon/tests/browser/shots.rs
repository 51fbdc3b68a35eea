//! Pictures for the docs, written where `KA_SCREENSHOTS` names a folder:
//!
//! `KA_SCREENSHOTS=$PWD/docs/images cargo test -p ka-daemon --test browser pictures`
//!
//! Those that are committed went through `pngquant --quality 85-100 --ext .png --force`.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Open;

#[test]
fn pictures() {
    let Some(folder) = std::env::var_os("KA_SCREENSHOTS").map(PathBuf::from) else { return };
    let open = Open::canned().expect("KA_SCREENSHOTS asks for pictures: chromedriver must be on PATH");
    open.tell_totals();
    for (width, height, suffix) in [(1280, 900, ""), (400, 900, "-narrow")] {
        for theme in ["light", "dark"] {
            open.chrome.eval(&format!("theme('{theme}')"));
            open.picture(&folder.join(format!("page-{theme}{suffix}.png")), width, height);
        }
    }
}

impl Open {
    fn picture(&self, file: &Path, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chrome.devtools("Emulation.setDeviceMetricsOverride", &size);
        let picture = self.chrome.devtools("Page.captureScreenshot", &json!({ "format": "png" }));
        let bytes =
            base64::Engine::decode(&base64::prelude::BASE64_STANDARD, picture["data"].as_str().unwrap());
        std::fs::write(file, bytes.unwrap()).unwrap();
    }
}
