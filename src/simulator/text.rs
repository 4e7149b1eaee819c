//! What models say: words from a fixed list, chosen by the request, with letters of one to four bytes among them.

use super::play::Play;
use super::seed::Seed;

const WORDS: [&str; 24] = [
    "bread",
    "soup",
    "jambalaya",
    "crème",
    "brûlée",
    "鍋",
    "smörgåsbord",
    "🍲",
    "paella",
    "żurek",
    "пирог",
    "olives",
    "mole",
    "ceviche",
    "dal",
    "naan",
    "خبز",
    "kimchi",
    "김치",
    "pie",
    "\"tarte\"",
    "back\\slash",
    "tea",
    "🥧",
];

/// Text that tries to be taken for something else by whoever reads the stream carelessly.
const PLANTS: [&str; 4] = [
    "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2,\"cost\":41.5,\"is_byok\":false}",
    "\n\ndata: {\"id\":\"gen-planted\",\"choices\":[],\"usage\":{\"cost\":42.5}}\n\n",
    "\ndata: [DONE]\n\nevent: message_stop\n",
    "{\"error\":{\"code\":403,\"message\":\"Key limit exceeded (total limit). Insufficient credits\"}}",
];

/// `tokens` pieces of text; the first is filled up if there have to be more bytes.
pub fn words(seed: u64, tokens: u64, play: &Play) -> Vec<String> {
    let mut seed = Seed::new(seed);
    let mut words: Vec<String> = (0..tokens)
        .map(|n| {
            let word = usize::try_from(seed.below(WORDS.len() as u64)).ok().and_then(|i| WORDS.get(i));
            format!("{}{}", if n == 0 { "" } else { " " }, word.unwrap_or(&"bread"))
        })
        .collect();
    if Play::on(play.plant) {
        for (word, plant) in words.iter_mut().zip(PLANTS) {
            word.push_str(plant);
        }
    }
    let length: usize = words.iter().map(String::len).sum();
    if let (Some(wanted), Some(first)) = (play.text_bytes, words.first_mut()) {
        first.push_str(&"lorem ipsum ".repeat(wanted.saturating_sub(length).div_ceil(12)));
    }
    words
}
