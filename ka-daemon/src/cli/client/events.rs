//! Server-sent events of `/api/v1/events`, as the HTML standard writes them.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{Answer, Client, ClientError};
use crate::view::Event;

/// Totals too: they tell that the daemon is alive.
const PATH: &str = "/api/v1/events?kinds=drop,totals";
/// The daemon sends totals each second: a longer silence is a dead connection.
const SILENCE: Duration = Duration::from_secs(15);

/// Events as they happen.
#[derive(Debug)]
pub struct Events {
    answer: Answer,
    parser: Parser,
}

impl Events {
    /// Begins to listen: drops and totals from now on are told.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn listen(client: &Client) -> Result<Self, ClientError> {
        let answer = client.get(PATH).await?;
        Ok(Self { answer, parser: Parser::default() })
    }

    /// The next event of a kind that is known here; none: the daemon ended the stream.
    ///
    /// # Errors
    /// The stream broke off, nothing came for too long, or an event is not what it should be.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        while let Some(line) = self.answer.line_within(SILENCE).await? {
            let Some(message) = self.parser.line(&line) else { continue };
            if let Some(event) = message.event().map_err(|error| self.answer.asked.content(error))? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    event: String,
    data: String,
}

impl Message {
    /// The event in it; none: of a kind that is not known here, of a newer daemon.
    fn event(&self) -> Result<Option<Event>, serde_json::Error> {
        if !matches!(self.event.as_str(), "drop" | "probe_unanswered" | "totals" | "lost") {
            return Ok(None);
        }
        let mut content: Value = serde_json::from_str(&self.data)?;
        if let Value::Object(fields) = &mut content {
            fields.insert("event".to_owned(), Value::from(self.event.as_str()));
        }
        serde_json::from_value(content).map(Some)
    }
}

/// Lines in, messages out. Pure.
#[derive(Debug, Default)]
struct Parser {
    event: String,
    data: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &Bytes) -> Option<Message> {
        let line = String::from_utf8_lossy(line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return self.data.take().map(|data| Message { event, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            // A comment (nothing before the colon), or a field that is of no use here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<Message> {
        let mut parser = Parser::default();
        text.split('\n').filter_map(|line| parser.line(&Bytes::copy_from_slice(line.as_bytes()))).collect()
    }

    #[test]
    fn messages_end_with_an_empty_line() {
        let text =
            ": hello\nevent: lost\nid: 7\ndata: {\"count\":\ndata:3}\n\nevent: lost\n\ndata: {}\n\ndata: cut";
        let message = |event: &str, data: &str| Message { event: event.to_owned(), data: data.to_owned() };
        assert_eq!(messages(text), [message("lost", "{\"count\":\n3}"), message("", "{}")]);
    }

    #[test]
    fn contents_are_events_by_their_name() {
        let lost = Message { event: "lost".to_owned(), data: r#"{"count":3,"newer":1}"#.to_owned() };
        assert_eq!(lost.event().unwrap(), Some(Event::Lost { count: 3 }));
        let tagged = Message { event: "lost".to_owned(), data: r#"{"event":"lost","count":3}"#.to_owned() };
        assert_eq!(tagged.event().unwrap(), Some(Event::Lost { count: 3 }));
        let newer = Message { event: "solar_flare".to_owned(), data: "anything".to_owned() };
        assert_eq!(newer.event().unwrap(), None);
        let wrong = Message { event: "lost".to_owned(), data: "[]".to_owned() };
        assert!(wrong.event().is_err());
    }
}
