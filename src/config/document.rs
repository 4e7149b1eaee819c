//! The configuration file that explains itself: `potluck config` prints it, `conf/potluck.toml` is it.

use super::kinds::Sample;
use super::settings::{Row, SECTIONS, Section};

const INTRO: &str = "\
# potluck: every setting, with its default. This file is printed by `potluck config`.
#
# Flags win over the environment, the environment wins over this file, and what is written nowhere has its default.
# To change a setting, remove the `#` in front of it. Unknown names are refused. Secrets are never written here.
# `potluck check -c FILE` says everything that is wrong with a file.
";

const WIDTH: usize = 118;

/// The documented configuration file; as it is, it sets nothing.
pub fn documented_file() -> String {
    let mut out = INTRO.to_owned();
    for section in SECTIONS {
        write_section(section, &mut out);
    }
    out
}

fn write_section(section: &Section, out: &mut String) {
    if let Some(name) = section.prefix.strip_suffix('.') {
        out.push('\n');
        write_comment(&section.doc.concat(), out);
        out.push_str(&format!("[{name}]\n"));
    }
    for row in section.rows {
        out.push('\n');
        write_row(row, out);
    }
}

fn write_row(row: &Row, out: &mut String) {
    write_comment(&row.doc.concat(), out);
    let mut facts = row.kind.describe();
    match row.env {
        Some(env) if row.secret => facts.push_str(&format!(" Only from the environment: {env} ({}).", row.path)),
        Some(env) => facts.push_str(&format!(" Environment: {env}.")),
        None => {}
    }
    write_comment(&facts, out);
    match row.kind.sample() {
        Sample::Default(value) => out.push_str(&format!("#{} = {value}\n", row.name)),
        Sample::Example(value) => out.push_str(&format!("#{} = {value} # for example\n", row.name)),
        Sample::Tables(text) => out.push_str(&text),
        Sample::Never => {}
    }
}

/// `# ` lines, broken between words.
fn write_comment(text: &str, out: &mut String) {
    let mut column = 0;
    for word in text.split_whitespace() {
        if column > 0 && column + 1 + word.chars().count() > WIDTH {
            out.push('\n');
            column = 0;
        }
        out.push_str(if column == 0 { "# " } else { " " });
        column += word.chars().count() + if column == 0 { 2 } else { 1 };
        out.push_str(word);
    }
    out.push('\n');
}
