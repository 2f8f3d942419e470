/*
 * lexer.c - greenarrow.conf as words
 *
 * Words are bare (letters, digits and - _ + . * / \ [ ] $ : ; % | @ =), "JSON
 * strings" or `raw strings`.  A comma, `{`, `}` and the end of a line are tokens
 * of their own; `#` at the start of a word begins a comment.  Called by the
 * parser and for the defaults in a module's schema.  Owns nothing.
 *
 * Columns count bytes, as compilers do.  Strings end on the line they begin on.
 */
#include <ctype.h>
#include <string.h>

#include "conf/lexer.h"

void gac_lexer_init(struct gac_lexer *lx, struct ga_pool *pool, struct ga_diag *diag,
    const struct gac_file *file, struct ga_str text)
{
	static const char bom[] = "\xef\xbb\xbf";

	*lx = (struct gac_lexer){
		.pool = pool, .diag = diag, .file = file, .text = text, .line = 1,
	};
	if (ga_str_starts(text, ga_str_c(bom)))
		lx->at = lx->line_start = 3;
}

static int peek(const struct gac_lexer *lx)
{
	return lx->at < lx->text.n ? (unsigned char)lx->text.p[lx->at] : -1;
}

static struct gac_pos pos_at(const struct gac_lexer *lx, size_t at)
{
	return (struct gac_pos){ lx->file, lx->line, (unsigned)(at - lx->line_start) + 1 };
}

static bool is_bare(int c)
{
	return c > 0 && c < 128 && (isalnum(c) || strchr("-_+.*/\\[]$:;%|@=", c) != NULL);
}

/* After a word these may follow without a blank between. */
static bool ends_word(int c)
{
	return c < 0 || (c > 0 && strchr(" \t\r\n,{}", c) != NULL);
}

static void complain_of_byte(struct gac_lexer *lx, int c)
{
	struct gac_pos pos = pos_at(lx, lx->at);

	if (c == '#')
		gac_diag_error_at(lx->diag, &pos,
		    "`#` inside a word: put a blank before a comment, or quote the value");
	else if (c == '"' || c == '`')
		gac_diag_error_at(lx->diag, &pos, "a string begins inside a word: put a blank before it");
	else if (c >= 32 && c < 127)
		gac_diag_error_at(lx->diag, &pos,
		    "`%c` may stand only inside quotes: write the value as \"...\"", c);
	else
		gac_diag_error_at(lx->diag, &pos,
		    "byte 0x%02x may stand only inside quotes: write the value as \"...\"", (unsigned)c);
}

static void skip_comment(struct gac_lexer *lx)
{
	while (peek(lx) >= 0 && peek(lx) != '\n')
		lx->at++;
}

static int hex4(struct ga_str s, size_t at)
{
	int v = 0;

	if (s.n < 4 || at > s.n - 4)
		return -1;
	for (size_t i = at; i < at + 4; i++) {
		int c = (unsigned char)s.p[i];

		if (!isxdigit(c))
			return -1;
		v = v * 16 + (isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
	}
	return v;
}

static size_t put_utf8(char *to, unsigned cp)
{
	if (cp < 0x80) {
		to[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		to[0] = (char)(0xc0 | cp >> 6);
		to[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		to[0] = (char)(0xe0 | cp >> 12);
		to[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		to[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | cp >> 18);
	to[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	to[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	to[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

/* \uNNNN, with the second half of a surrogate pair; lx->at is at the first digit. */
static size_t unicode_escape(struct gac_lexer *lx, char *to)
{
	struct gac_pos pos = pos_at(lx, lx->at - 2);
	int hi = hex4(lx->text, lx->at), lo;

	if (hi < 0) {
		gac_diag_error_at(lx->diag, &pos, "\\u must be followed by four hexadecimal digits");
		return 0;
	}
	lx->at += 4;
	if (hi == 0) {
		gac_diag_error_at(lx->diag, &pos, "\\u0000 is not allowed in a value");
		return 0;
	}
	if (hi < 0xd800 || hi > 0xdfff)
		return put_utf8(to, (unsigned)hi);
	lo = lx->at + 1 < lx->text.n && lx->text.p[lx->at] == '\\' && lx->text.p[lx->at + 1] == 'u' ?
	    hex4(lx->text, lx->at + 2) : -1;
	if (hi > 0xdbff || lo < 0xdc00 || lo > 0xdfff) {
		gac_diag_error_at(lx->diag, &pos, "\\u%04x is half of a surrogate pair", (unsigned)hi);
		return 0;
	}
	lx->at += 6;
	return put_utf8(to, 0x10000 + (((unsigned)hi - 0xd800) << 10) + ((unsigned)lo - 0xdc00));
}

static size_t escape(struct gac_lexer *lx, char *to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	struct gac_pos pos = pos_at(lx, lx->at);
	int c;
	const char *p;

	lx->at++;
	c = peek(lx);
	if (c == 'u') {
		lx->at++;
		return unicode_escape(lx, to);
	}
	p = c > 0 ? strchr(from, c) : NULL;
	if (p == NULL) {
		gac_diag_error_at(lx->diag, &pos,
		    "unknown escape: only \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uNNNN, or use `raw` quotes");
		return 0;
	}
	lx->at++;
	*to = into[p - from];
	return 1;
}

/* lx->at is behind the opening quote.  An escape never grows the text. */
static struct ga_str json_string(struct gac_lexer *lx, size_t opened)
{
	const char *nl = memchr(lx->text.p + lx->at, '\n', lx->text.n - lx->at);
	size_t room = (nl == NULL ? lx->text.n : (size_t)(nl - lx->text.p)) - lx->at;
	char *buf = ga_alloc(lx->pool, room + 4);
	size_t n = 0;
	struct gac_pos pos = pos_at(lx, opened);

	for (;;) {
		int c = peek(lx);

		if (c < 0 || c == '\n') {
			gac_diag_error_at(lx->diag, &pos, "the string is not closed on its line");
			break;
		}
		if (c == '"') {
			lx->at++;
			break;
		}
		if (c == '\\') {
			n += escape(lx, buf + n);
			continue;
		}
		if (c == 0) {
			struct gac_pos here = pos_at(lx, lx->at);

			gac_diag_error_at(lx->diag, &here, "a NUL byte is not allowed in a value");
		}
		buf[n++] = (char)c;
		lx->at++;
	}
	return (struct ga_str){ buf, n };
}

static struct ga_str raw_string(struct gac_lexer *lx, size_t opened)
{
	struct ga_str s = { lx->text.p + lx->at, 0 };
	struct gac_pos pos = pos_at(lx, opened);

	while (peek(lx) >= 0 && peek(lx) != '\n' && peek(lx) != '`') {
		if (peek(lx) == 0) {
			struct gac_pos here = pos_at(lx, lx->at);

			gac_diag_error_at(lx->diag, &here, "a NUL byte is not allowed in a value");
		}
		lx->at++;
		s.n++;
	}
	if (peek(lx) == '`')
		lx->at++;
	else
		gac_diag_error_at(lx->diag, &pos, "the string is not closed on its line");
	return s;
}

static struct ga_str quoted(struct gac_lexer *lx)
{
	size_t opened = lx->at;
	int quote = peek(lx);

	lx->at++;
	return quote == '"' ? json_string(lx, opened) : raw_string(lx, opened);
}

/* Skip what cannot belong to a word, so that one slip is reported once. */
static void resync(struct gac_lexer *lx)
{
	complain_of_byte(lx, peek(lx));
	if (peek(lx) == '#') {
		skip_comment(lx);
		return;
	}
	while (!ends_word(peek(lx)))
		lx->at++;
}

static void word(struct gac_lexer *lx, struct gac_token *t)
{
	size_t start = lx->at;

	t->kind = GAC_TOK_WORD;
	if (peek(lx) == '"' || peek(lx) == '`') {
		t->quoted = true;
		t->text = quoted(lx);
	} else {
		while (is_bare(peek(lx)))
			lx->at++;
		t->text = (struct ga_str){ lx->text.p + start, lx->at - start };
		/* key="value": an option whose value needs quotes */
		if ((peek(lx) == '"' || peek(lx) == '`') && ga_str_ends(t->text, GA_STR("="))) {
			struct ga_str v = quoted(lx);

			t->quoted = true;
			t->text = ga_fmt(lx->pool, "%.*s%.*s", (int)t->text.n, t->text.p, (int)v.n, v.p);
		}
	}
	if (!ends_word(peek(lx)))
		resync(lx);
}

void gac_lexer_next(struct gac_lexer *lx, struct gac_token *t)
{
	int c;

	while ((c = peek(lx)) == ' ' || c == '\t' || c == '\r')
		lx->at++;
	if (c == '#')
		skip_comment(lx);
	c = peek(lx);
	*t = (struct gac_token){ .pos = pos_at(lx, lx->at), .start = lx->at };
	if (c < 0) {
		t->kind = GAC_TOK_EOF;
	} else if (c == '\n') {
		t->kind = GAC_TOK_EOL;
		lx->at++;
		lx->line++;
		lx->line_start = lx->at;
	} else if (c == ',' || c == '{' || c == '}') {
		t->kind = c == ',' ? GAC_TOK_COMMA : c == '{' ? GAC_TOK_OPEN : GAC_TOK_CLOSE;
		lx->at++;
	} else {
		word(lx, t);
	}
	t->end = lx->at;
}
