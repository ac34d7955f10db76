//! The story on a terminal: pods, groups, money, and the last decisions with their reasons.

use ratatui::{
    DefaultTerminal, Frame,
    layout::{Constraint, Layout},
    style::{Style, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Gauge, List, Paragraph, Row, Table},
};
use sim::Progress;

use super::plain::clock;

/// The terminal, restored when dropped.
pub(super) struct Screen(DefaultTerminal);

impl Screen {
    /// `None` when the terminal cannot be used this way.
    pub(super) fn open() -> Option<Self> {
        ratatui::try_init().ok().map(Self)
    }

    pub(super) fn draw(&mut self, title: &str, progress: &Progress) {
        // A frame that cannot be drawn is no reason to end the story.
        let _ = self.0.draw(|frame| render(frame, title, progress));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn render(frame: &mut Frame<'_>, title: &str, progress: &Progress) {
    let groups = u16::try_from(progress.groups.len()).unwrap_or(u16::MAX);
    let [head, pods, table, decisions] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(groups.saturating_add(3)),
        Constraint::Min(3),
    ])
    .areas(frame.area());

    let headline = Line::from(vec![
        Span::from(" vpsie-autoscaler demo ").bold().reversed(),
        Span::from(format!(
            "  {title}  {}  {} USD/h  {} USD so far",
            clock(progress.elapsed_seconds).trim(),
            progress.per_hour,
            progress.cost
        )),
    ]);
    frame.render_widget(Paragraph::new(headline), head);

    let counts = &progress.counts;
    let all = counts.pending + counts.running;
    let ratio = if all == 0 {
        0.0
    } else {
        counts.running as f64 / all as f64
    };
    let gauge = Gauge::default()
        .block(Block::bordered().title("pods"))
        .gauge_style(Style::new().green())
        .ratio(ratio.clamp(0.0, 1.0))
        .label(format!(
            "{} running, {} pending",
            counts.running, counts.pending
        ));
    frame.render_widget(gauge, pods);

    let rows = progress.groups.iter().map(|(name, group)| {
        let phases: Vec<String> = group
            .phases
            .iter()
            .map(|(phase, count)| format!("{count} {phase}"))
            .collect();
        Row::new(vec![
            name.clone(),
            format!("{}..{}", group.min, group.max),
            phases.join(", "),
        ])
    });
    let widths = [
        Constraint::Percentage(35),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let groups = Table::new(rows, widths)
        .header(Row::new(["node group", "bounds", "machines by phase"]).bold())
        .block(Block::bordered().title("node groups"));
    frame.render_widget(groups, table);

    let lines = progress.decisions.iter().map(|decision| {
        let reason = Span::from(decision.reason.clone()).bold();
        let reason = if decision.level == "Warning" {
            reason.yellow()
        } else {
            reason.cyan()
        };
        Line::from(vec![
            reason,
            Span::from(format!("  {}  {}", decision.object, decision.message)),
        ])
    });
    let list = List::new(lines).block(Block::bordered().title("decisions, newest first"));
    frame.render_widget(list, decisions);
}
