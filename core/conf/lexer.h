/*
 * lexer.h - greenarrow.conf as words
 *
 * One lexer reads one text, already in memory.  Word texts are slices of that
 * text (bare words) or live in the pool (strings with escapes).
 */
#ifndef GAC_CONF_LEXER_H
#define GAC_CONF_LEXER_H

#include "conf/diag.h"

enum gac_token_kind {
	GAC_TOK_WORD, GAC_TOK_COMMA, GAC_TOK_OPEN, GAC_TOK_CLOSE, GAC_TOK_EOL, GAC_TOK_EOF
};

struct gac_token {
	enum gac_token_kind kind;
	bool quoted;			/* a word that was (partly) a string */
	struct ga_str text;		/* its value */
	size_t start, end;		/* offsets in the text: as written */
	struct gac_pos pos;
};

struct gac_lexer {
	struct ga_pool *pool;
	struct ga_diag *diag;
	const struct gac_file *file;
	struct ga_str text;
	size_t at;			/* next byte */
	size_t line_start;		/* offset of column 1 */
	unsigned line;
};

void gac_lexer_init(struct gac_lexer *, struct ga_pool *, struct ga_diag *,
    const struct gac_file *, struct ga_str text);
/* Mistakes are reported to diag; the token is then the best guess. */
void gac_lexer_next(struct gac_lexer *, struct gac_token *);

#endif
