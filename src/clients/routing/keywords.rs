//! Words that speak for a category, in several languages.
//!
//! `translat*` stands for all words that begin so. Words of scripts that put no spaces between words are found anywhere. A word
//! that means several things is in no list, or weighs little.

/// It says what is wanted.
pub(super) const STRONG: u32 = 6;
/// It mostly stands in such requests.
pub(super) const MEDIUM: u32 = 4;
/// It stands in such requests more often than in others.
pub(super) const WEAK: u32 = 2;

/// Category, weight, words.
pub(super) type Row = (&'static str, u32, &'static str);

/// Words are separated by `|`.
pub(super) const ROWS: &[Row] = &[
    // English.
    ("translation", STRONG, "translate*|translation*|how do you say|how do i say|how would you say|in other languages"),
    (
        "translation",
        MEDIUM,
        "into english|into french|into german|into spanish|into italian|into japanese|into chinese|\
        into portuguese|into russian|to french|to german|to spanish|to italian|to japanese|to chinese|to english|\
        to portuguese|to russian|in french|in german|in spanish|in italian|in japanese|in chinese|in russian|in thai|\
        in korean|in arabic|in portuguese|german word for|french word for|spanish word for|japanese word for|word for",
    ),
    ("translation", WEAK, "what does|mean in|meaning|idiom*|native speaker*|bilingual"),
    (
        "summarization",
        STRONG,
        "summar*|tl;dr|tldr|tl dr|condense*|key takeaways|takeaways|main points|key points|\
        the gist|sum up|boil down|boil this down|shorten*|abstract for|brief overview|executive summary|in a nutshell",
    ),
    (
        "summarization",
        WEAK,
        "bullet points|in one sentence|in one paragraph|as short as possible|briefly|recap|overview of",
    ),
    (
        "extraction",
        STRONG,
        "extract*|parse this|parse the|classify*|categorize*|categorise*|label each|tag each|pull out|\
        as json|to json|into json|as a csv|to csv|into a csv|list every|list all|find all|identify all|sentiment|\
        fill in the fields|structured data|named entit*",
    ),
    ("extraction", WEAK, "json|csv|fields|entities|mentioned|columns|spreadsheet|spam|positive, negative|label*|table"),
    (
        "coding",
        STRONG,
        "python|javascript|typescript|java|kotlin|golang|rust|c++|c#|php|ruby|swift|sql|bash|html|css|react|\
        vue|angular|django|flask|numpy|pandas|node.js|nodejs|regex|dockerfile|kubectl|kubernetes|nginx|git|npm|cargo|\
        makefile|cmake|compile*|compiler error|stack trace|segmentation fault|segfault|unit test*|refactor*|debug*|\
        pull request|nullpointerexception|typeerror|useeffect|async/await|awk|sed|postgres*|mysql|mongodb|codebase",
    ),
    (
        "coding",
        MEDIUM,
        "function|code|script|program|algorithm*|api|endpoint|class|variable|repository|commit|\
        branch|merge|database|query|bug|exception|library|framework|component|docker|container|linked list|array|\
        time complexity|big o|heap|hash map|loop|div|implement|shell|terminal|server|ci|backend|frontend|deploy*|build",
    ),
    ("coding", WEAK, "error|fix|test|tests|string|file|files|index|cache|http|crash*|undo|log|install"),
    (
        "reasoning",
        STRONG,
        "prove|proof|step by step|solve for|probability|derivative|integral|equation*|logically|logic puzzle|\
        riddle|paradox|theorem|think carefully|optimal strategy|weigh the pros|pros and cons|calculate*|how many ways|\
        flaw in|brain teaser",
    ),
    (
        "reasoning",
        MEDIUM,
        "solve|how many|how much|evaluate|compare*|versus|strategy|argument|deduce|derive|\
        hypothes*|consistent|strengths and weaknesses|better decision|show that|what is the sum|percent*|average|trade-off*|\
        measure exactly|work out|divisible|prime|ethic*|consequences",
    ),
    (
        "reasoning",
        WEAK,
        "how long do|explain why|why|if all|analyze|analyse|reason*|decide|plan|sum of|more than|altogether|sample size|\
        exactly|years",
    ),
    (
        "creative",
        STRONG,
        "poem*|story|stories|haiku|limerick|sonnet|lyrics|song|slogan*|tagline*|screenplay|short story|\
        roleplay*|role-play|fairy tale|fable|bedtime story|plot twist*|rap battle|brainstorm*|fan fiction|verse|ballad",
    ),
    (
        "creative",
        MEDIUM,
        "come up with|invent|imagine|make up|continue the scene|novel|character*|dialogue|fantasy|catchy|\
        names for|wedding speech|toast|in the style of|diary entry|pretend|you are a pirate|blog post|rhyme*|fictional|scene",
    ),
    ("creative", WEAK, "write a|write me|funny|creative*|opening paragraph|compose|world"),
    (
        "conversational",
        MEDIUM,
        "hello|hi|hey|thanks|thank you|how are you|good morning|good evening|what's up|recommend|see you|\
        i feel|bored|what should i",
    ),
    // German.
    (
        "translation",
        STRONG,
        "übersetz*|wie sagt man|wie heißt|auf englisch|ins englische|ins deutsche|auf japanisch|\
        auf französisch|auf spanisch",
    ),
    ("summarization", STRONG, "zusammenfass*|fass*|fasse|wichtigsten punkte|kurzfassung|kürze diesen"),
    ("extraction", STRONG, "extrahier*|klassifizier*|als json|als csv|liste alle|alle datumsangaben|gib mir nur"),
    (
        "coding",
        MEDIUM,
        "skript|programmier*|funktion|quelltext|fehlermeldung|datei|dateien|schleife|datenbank|csv-datei",
    ),
    ("reasoning", STRONG, "beweis*|berechne*|wahrscheinlichkeit|wie viele|schritt für schritt|löse|rätsel|gleichung"),
    ("creative", STRONG, "gedicht*|geschichte|märchen|fabel|liedtext|erfinde|reim*|kurzgeschichte"),
    ("conversational", MEDIUM, "hallo|guten morgen|guten abend|wie geht|danke|koche ich|empfiehl*"),
    // French.
    ("translation", STRONG, "tradui*|traduction|comment dit-on|en anglais|en français|en allemand"),
    ("summarization", STRONG, "résum*|synthèse|points clés|en deux phrases"),
    ("extraction", STRONG, "extrai*|extraire|classe les|en json"),
    ("coding", MEDIUM, "fonction|programme|script|algorithme|code source|base de données"),
    ("reasoning", STRONG, "démontre*|prouve*|calcule*|probabilité|étape par étape|à quelle heure|combien de"),
    ("creative", STRONG, "poème|histoire|chanson|conte|invente|slogan"),
    ("conversational", MEDIUM, "bonjour|salut|merci|conseiller|ça va"),
    // Spanish, Portuguese, Italian.
    (
        "translation",
        STRONG,
        "traduce|traducir|traduza|traduzir|traduci|tradurre|cómo se dice|como se diz|come si dice|al inglés|\
        al español|para o português|in inglese",
    ),
    ("summarization", STRONG, "resume|resumen|resuma|resumo|riassumi|riassunto|puntos clave"),
    ("extraction", STRONG, "extrae|extraer|extraia|estrai|clasifica"),
    ("coding", MEDIUM, "función|función en|programa|código|funzione|codice|função"),
    (
        "reasoning",
        STRONG,
        "demuestra|calcula|probabilidad|probabilidade|probabilità|dimostra|paso a paso|cuántos|quantos|quanti",
    ),
    ("creative", STRONG, "poema|cuento|canción|poesia|historia|lenda|conto|canzone|storia|inventa|invente uma"),
    ("conversational", MEDIUM, "hola|ciao|olá|gracias|grazie|obrigado|consigli"),
    // Russian.
    ("translation", STRONG, "перевед*|перевод*|как будет по|на английский"),
    ("summarization", STRONG, "кратко|резюм*|суммир*|главное из"),
    ("extraction", STRONG, "извлек*|выпиши|классифиц*"),
    ("coding", MEDIUM, "функци*|код|программ*|скрипт|ошибк*"),
    ("reasoning", STRONG, "докажи*|вычисли*|вероятност*|реши|сколько"),
    ("creative", STRONG, "стих*|рассказ*|сказк*|песн*|придумай"),
    ("conversational", MEDIUM, "привет|здравствуй*|спасибо|как дела"),
    // Chinese and Japanese.
    ("translation", STRONG, "翻译|译成|用英语|用中文怎么说|英语怎么说|訳して|英語に|日本語に|翻訳"),
    ("summarization", STRONG, "总结|概括|摘要|要約|まとめて"),
    ("extraction", STRONG, "提取|抽取|分类|抽出|分類"),
    ("coding", MEDIUM, "代码|函数|编程|程序|并发|算法|プログラム|関数|コード"),
    ("reasoning", STRONG, "证明|计算|概率|推理|証明|計算|確率"),
    ("creative", STRONG, "诗|故事|小说|歌词|物語|小説|俳句|詩"),
    ("conversational", MEDIUM, "你好|谢谢|こんにちは|ありがとう|おすすめ"),
];

/// Pieces of programs that ordinary prose does not hold.
pub(super) const CODE_SHAPES: [&str; 22] = [
    "();", "){", ") {", "=>", "==", "&&", "</", "/>", "::", "++", "};", "fn ", "def ", "#include", "select ",
    "return ", "import ", "self.", "const ", "let ", "[i]", " = ?",
];

/// What tools are called that work on programs.
pub(super) const CODE_TOOLS: [&str; 10] =
    ["file", "shell", "bash", "edit", "grep", "code", "terminal", "exec", "patch", "repo"];
