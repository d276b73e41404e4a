//! Messages that join the running turn, and files that leave it before its answer does.

use super::Run;
use crate::engine::{QueueMode, content};
use blufio_core::command;
use blufio_core::content::OutgoingFile;
use blufio_core::limits::JOINED_MESSAGES_MAX;
use blufio_core::message::Part;
use blufio_core::port::StoreError;
use blufio_core::record::{Draft, InboxRow, Payload, Record, Rendered};

impl Run<'_> {
    /// What waits joins the turn here, if that is wanted: words of the same person, up to the first command or file.
    pub(super) async fn steer(&mut self) -> Result<Vec<Part>, StoreError> {
        if self.engine.settings.queue != QueueMode::Steer {
            return Ok(Vec::new());
        }
        let waiting = self.engine.adapters.storage.waiting(self.session.id, JOINED_MESSAGES_MAX).await?;
        let joins = |row: &InboxRow| {
            row.principal == self.row.principal
                && row.content.files.is_empty()
                && row.album.is_none()
                && command::parse(&row.content.text, None).is_none()
        };
        let rows: Vec<InboxRow> = waiting.into_iter().take_while(joins).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        self.joined.extend(&ids);
        self.records.push(Record::Joined(ids));
        Ok(content::read(self.engine, self.session, &rows, &[]).await?.parts)
    }

    /// Files of a tool go out before the answer.
    pub(super) fn send_files(&mut self, files: Vec<OutgoingFile>) {
        if files.is_empty() {
            return;
        }
        self.follow_upgrade();
        let draft = |file| {
            let body = Rendered { rich: String::new(), plain: String::new() };
            Draft { payload: Payload::File(file), ..Draft::text(self.row.route.clone(), body) }
        };
        let drafts = files.into_iter().map(draft).collect();
        self.records.push(Record::Outbox { drafts, first_sending: false });
        self.poke_all = true;
    }
}
