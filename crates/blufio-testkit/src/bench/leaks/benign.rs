//! Ordinary text, made by chance from a fixed seed: prose in several languages, code, logs, configuration, hashes, pictures,
//! addresses, JSON, and talk about keys and passwords that holds none.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PROSE: [&str; 24] = [
    "The meeting was moved to Thursday because the train from the coast is late every other day.",
    "Please remember to water the plants on the balcony and to bring the blue folder with you.",
    "If you forgot your password, open the settings and follow the link that we send by mail.",
    "The key to a good soup is patience: let the onions turn golden before anything else happens.",
    "A token of our thanks is on its way to you; the secret of its taste is a family matter.",
    "Authorization from the board is needed before the credentials of the new members are checked.",
    "Das Passwort wird nie in einer Mail verschickt, und niemand wird danach am Telefon fragen.",
    "Der Schlüssel liegt unter der Matte: bitte danach wieder zurücklegen, die Nachbarin braucht ihn.",
    "Am Freitagnachmittag treffen wir uns am Bahnhof; wer später kommt, nimmt den Bus Nummer 42.",
    "Le secret de cette recette : une pincée de sel, trois œufs et beaucoup de patience.",
    "Le mot de passe doit être changé tous les ans, d'après la note du service informatique.",
    "La llave está en la mesa, junto a la contraseña del cuaderno que me dejaste el martes.",
    "Il treno per Bologna parte alle 14:35 dal binario 7, con un ritardo previsto di dieci minuti.",
    "Wachtwoord vergeten? Klik op de knop hieronder en volg de stappen op het scherm.",
    "Ключ от квартиры лежит на столе, а пароль я скажу тебе вечером по телефону.",
    "秘密の鍵は引き出しの中にあります。明日の会議は午後三時からです。",
    "会议改到星期四下午三点,请把蓝色的文件夹带来。",
    "مفتاح البيت على الطاولة، والاجتماع يوم الخميس بعد الظهر.",
    "See https://docs.example.org/en/latest/guide/authentication/tokens.html#refresh for the details.",
    "Open http://localhost:8080/status?verbose=1&page=2 and compare it with https://example.com:8443/a/b@c.",
    "The api key page says: create a key, copy it once, and keep it where nobody else can read it.",
    "Mixpanel, Datadog, Sentry and Linear are on the list of vendors: the renewal is due in March.",
    "Twitch: the stream begins at eight; Discord: everybody who wants to talk; Notion: the minutes.",
    "Basic training for everybody, bearer bonds for nobody, said the note on the door of the bank.",
];

const CODE: [&str; 40] = [
    "let token = self.tokens.next().ok_or(ParseError::UnexpectedEnd)?;",
    "pub fn secret_value(text: &[u8], value: &Value) -> Option<Range<usize>> {",
    "const PASSWORD_LENGTH_MIN: usize = 12;",
    "password = getpass.getpass(\"Password: \")",
    "api_key = os.environ[\"SERVICE_API_KEY\"]",
    "client = Client(api_key=settings.SERVICE_API_KEY, timeout=30)",
    "export DATABASE_PASSWORD=\"${DATABASE_PASSWORD:?is not set}\"",
    "TOKEN=$(cat /run/secrets/token)",
    "  token: ${{ secrets.GITHUB_TOKEN }}",
    "  password: {{ vault_database_password }}",
    "key = \"settings.window.height\"",
    "for (const [key, value] of Object.entries(headers)) {",
    "if (password.length < 8) throw new Error('password is too short');",
    "<input type=\"password\" name=\"password\" autocomplete=\"current-password\">",
    "#define KEY_BYTES 32",
    "static const char *secret_names[] = { \"api_key\", \"auth_token\", NULL };",
    "assert_eq!(parse(\"key = value\"), Ok((\"key\", \"value\")));",
    "CREATE UNIQUE INDEX session_key ON sessions (session_key, created_at);",
    "SELECT token_hash FROM tokens WHERE user_id = $1 AND revoked_at IS NULL;",
    "primary_key=True, foreign_key=\"user.id\", key=lambda item: item.name)",
    "import { createSecretKey } from 'node:crypto';",
    "secretKeyRef: { name: database-credentials, key: password }",
    "  key: node-role.kubernetes.io/control-plane",
    "cache-key: v2-{{ checksum \"Cargo.lock\" }}-{{ arch }}",
    "auth: AuthMethod = field(default_factory=AuthMethod)",
    "access_token: str | None = None",
    "password: Option<SecretString>,",
    "token => token.type === TokenType.Identifier && token.value === name",
    "authorization: `Bearer ${token}`,",
    "Authorization: Bearer <your-token>",
    "curl -H \"Authorization: Bearer $API_TOKEN\" https://api.example.com/v1/items",
    "postgres://user:${PASSWORD}@db.internal:5432/app",
    "git clone https://github.com/rust-lang/rust.git && cd rust",
    "let key = format!(\"{prefix}:{id}\"); cache.insert(key.clone(), value);",
    "KEY_F1 = 0x70; KEY_ESCAPE = 0x1b; KEY_SPACE = 0x20",
    "hotkey: \"CmdOrCtrl+Shift+P\", accelerator: \"Alt+F4\"",
    "def rotate_credentials(self, credentials: Credentials) -> Credentials:",
    "private_key_path = /etc/ssl/private/server.key",
    "api_key = \"YOUR_API_KEY_HERE\"  # replace this",
    "password = \"changeme\"",
];

/// xorshift64*, good enough to scatter.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.below(16)])).collect()
    }

    fn uuid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|digits| self.hex(digits)).join("-")
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

/// So many lines; the same ones each time.
pub fn text(lines: usize) -> String {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut text = String::new();
    for _ in 0..lines {
        line(&mut text, &mut chance).expect("a String takes everything");
        text.push('\n');
    }
    text
}

fn line(text: &mut String, chance: &mut Chance) -> std::fmt::Result {
    let time = format!(
        "2026-0{}-1{}T0{}:1{}:2{}.{:03}Z",
        1 + chance.below(9),
        chance.below(10),
        chance.below(10),
        chance.below(10),
        chance.below(10),
        chance.below(1_000)
    );
    match chance.below(20) {
        0..=6 => write!(text, "{} {}", chance.of(&PROSE), chance.of(&PROSE)),
        7..=10 => write!(text, "{}{}", " ".repeat(chance.below(4) * 4), chance.of(&CODE)),
        11 => write!(
            text,
            "{time} INFO request id={} session=tg:{}:dm status=200 took={}ms path=/v1/items/{}",
            chance.uuid(),
            chance.below(9_999_999),
            chance.below(900),
            chance.hex(24)
        ),
        12 => write!(
            text,
            "{time} DEBUG cache key={} hit=true etag=\"{}\" size={}",
            chance.hex(16),
            chance.hex(40),
            chance.below(90_000)
        ),
        13 => write!(
            text,
            "commit {}\nparent {}\nindex {}..{} 100644",
            chance.hex(40),
            chance.hex(40),
            chance.hex(7),
            chance.hex(7)
        ),
        14 => write!(
            text,
            "{}  ./target/release/deps/lib{}-{}.rlib",
            chance.hex(64),
            chance.of(&["serde", "tokio", "regex", "secrets"]),
            chance.hex(16)
        ),
        15 => {
            let length = 90 + chance.below(900);
            write!(text, "<img alt=\"\" src=\"data:image/png;base64,{}\">", STANDARD.encode(chance.bytes(length)))
        }
        16 => write!(
            text,
            "{{\"id\":\"{}\",\"sha256\":\"{}\",\"created\":{},\"tags\":[\"new\",\"blue\"],\"size\":{}}}",
            chance.uuid(),
            chance.hex(64),
            1_700_000_000 + chance.below(90_000_000),
            chance.below(9_999)
        ),
        17 => write!(
            text,
            "https://cdn.example.net/assets/{}/{}.js?v={}&utm_source=news&session={}",
            chance.hex(8),
            chance.of(&["main", "vendor", "token"]),
            chance.hex(10),
            chance.below(99_999)
        ),
        18 => write!(
            text,
            "checksum = \"{}\"\nsource = \"registry+https://index.example.org/\"\n\"integrity\": \"sha512-{}\"",
            chance.hex(64),
            STANDARD.encode(chance.bytes(64))
        ),
        _ => write!(
            text,
            "    at com.example.auth.TokenService.refresh(TokenService.java:{}) ~[app-{}.{}.jar:{}]",
            chance.below(900),
            chance.below(9),
            chance.below(90),
            chance.hex(7)
        ),
    }
}
