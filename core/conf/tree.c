/*
 * tree.c - greenarrow.conf as statements
 *
 * A statement is `name values` to the end of its line, or `name values {`, more
 * lines, and `}` on a line of its own.  Files that `include` names are read in
 * place.  Called by gac_conf_load(); one thread; nothing is kept open.
 *
 * The parser goes on after each mistake, guessing what was meant, so that one
 * run shows them all: a brace in the wrong place is reported once and obeyed.
 *
 * Limits: 16 MiB a file, includes 16 deep and 4096 in all, blocks 8 deep.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/lexer.h"
#include "conf/tree.h"

#define MAX_FILE (16u << 20)
#define MAX_INCLUDE_DEPTH 16
#define MAX_FILES 4096
#define MAX_BLOCK_DEPTH 8

/* A file being read; the chain upwards shows cycles. */
struct reading {
	const struct reading *outer;
	dev_t dev;
	ino_t ino;
	unsigned depth;
};

struct parser {
	struct gac_tree *tree;
	struct gac_lexer lx;
	struct gac_token t;
	const struct reading *reading;
	struct gac_stmt *open[MAX_BLOCK_DEPTH];
	struct gac_stmt_list *lists[MAX_BLOCK_DEPTH + 1];
	struct gac_stmt_list inner[MAX_BLOCK_DEPTH];
	unsigned depth, too_deep;
	struct gac_stmt *last;		/* the statement that just ended without `{` */
	unsigned braces_line;		/* last line reported for its braces */
};

static void read_file(struct gac_tree *, const char *path, const struct reading *outer,
    const struct gac_pos *from);

void gac_tree_init(struct gac_tree *tr, struct ga_pool *pool, struct ga_diag *diag)
{
	*tr = (struct gac_tree){ .pool = pool, .diag = diag };
	tr->top.tail = &tr->top.first;
}

static struct gac_file *new_file(struct gac_tree *tr, const char *name)
{
	struct gac_file *f = ga_alloc(tr->pool, sizeof *f);

	f->name = ga_dup(tr->pool, ga_str_c(name)).p;
	f->index = tr->nfiles++;
	return f;
}

/* ---- statements */

static void advance(struct parser *p)
{
	gac_lexer_next(&p->lx, &p->t);
}

/* One slip with braces often breaks two rules: say it once a line. */
static void brace_error(struct parser *p, const struct gac_pos *pos, const char *what)
{
	if (p->braces_line == pos->line)
		return;
	p->braces_line = pos->line;
	gac_diag_error_at(p->tree->diag, pos, "%s", what);
}

static void add_word(struct gac_stmt *s, size_t *room, const struct gac_token *t, unsigned item)
{
	if (s->nwords == *room) {
		*room = *room == 0 ? 8 : *room * 2;
		s->words = ga_xrealloc(s->words, *room * sizeof *s->words);
	}
	s->words[s->nwords++] = (struct gac_word){ t->text, t->pos, item, t->quoted };
}

/* Values up to `{`, `}`, or the end of the line; p->t is then that token. */
static void read_values(struct parser *p, struct gac_stmt *s)
{
	size_t room = 0, first = 0, last = 0;
	unsigned item = 0;
	bool after_comma = false;
	struct gac_pos comma = p->t.pos;
	struct gac_word *words;

	for (; p->t.kind == GAC_TOK_WORD || p->t.kind == GAC_TOK_COMMA; advance(p)) {
		if (p->t.kind == GAC_TOK_COMMA) {
			if (after_comma || s->nwords == 0)
				gac_diag_error_at(p->tree->diag, &p->t.pos, "a value is missing before the comma");
			else
				item++;
			after_comma = true;
			comma = p->t.pos;
			continue;
		}
		if (s->nwords == 0)
			first = p->t.start;
		add_word(s, &room, &p->t, item);
		last = p->t.end;
		after_comma = false;
	}
	if (after_comma && s->nwords > 0)
		gac_diag_error_at(p->tree->diag, &comma, "a value must follow the comma on the same line");
	s->nitems = s->nwords == 0 ? 0 : s->words[s->nwords - 1].item + 1;
	s->written = (struct ga_str){ p->lx.text.p + first, last - first };
	words = ga_alloc(p->tree->pool, (s->nwords + 1) * sizeof *words);
	if (s->nwords > 0)
		memcpy(words, s->words, s->nwords * sizeof *words);
	free(s->words);
	s->words = words;
}

static void open_block(struct parser *p, struct gac_stmt *s)
{
	if (p->depth == MAX_BLOCK_DEPTH) {
		gac_diag_error_at(p->tree->diag, &s->name.pos, "blocks are nested more than %d deep",
		    MAX_BLOCK_DEPTH);
		p->too_deep++;
		return;
	}
	s->block = true;
	p->open[p->depth] = s;
	p->inner[p->depth].first = NULL;
	p->inner[p->depth].tail = &s->children;
	p->depth++;
	p->lists[p->depth] = &p->inner[p->depth - 1];
}

static void close_block(struct parser *p)
{
	if (p->too_deep > 0)
		p->too_deep--;
	else if (p->depth == 0)
		brace_error(p, &p->t.pos, "`}` without a block to close");
	else
		p->depth--;
	p->last = NULL;
}

/* After `{` or `}` the line must end; if not, say so and read on from there. */
static void expect_eol(struct parser *p, const char *what)
{
	advance(p);
	if (p->t.kind != GAC_TOK_EOL && p->t.kind != GAC_TOK_EOF)
		brace_error(p, &p->t.pos, what);
	else if (p->t.kind == GAC_TOK_EOL)
		advance(p);
}

static bool has_glob_chars(struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr("*?[", s.p[i]) != NULL && s.p[i] != '\0')
			return true;
	return false;
}

static const char *beside(struct ga_pool *pool, const char *file, struct ga_str path)
{
	const char *slash = strrchr(file, '/');

	if (path.n > 0 && path.p[0] == '/')
		return ga_dup(pool, path).p;
	if (slash == NULL)
		return ga_dup(pool, path).p;
	return ga_fmt(pool, "%.*s/%.*s", (int)(slash - file), file, (int)path.n, path.p).p;
}

static void include_one(struct parser *p, const struct gac_word *w)
{
	struct gac_tree *tr = p->tree;
	const char *path = beside(tr->pool, p->lx.file->name, w->text);
	glob_t g;

	if (w->text.n == 0) {
		gac_diag_error_at(tr->diag, &w->pos, "include: the name of the file is empty");
		return;
	}
	if (!has_glob_chars(w->text)) {
		read_file(tr, path, p->reading, &w->pos);
		return;
	}
	switch (glob(path, GLOB_ERR, NULL, &g)) {
	case 0:
		for (size_t i = 0; i < g.gl_pathc; i++)
			read_file(tr, g.gl_pathv[i], p->reading, &w->pos);
		globfree(&g);
		break;
	case GLOB_NOMATCH:
		break;
	default:
		gac_diag_error_at(tr->diag, &w->pos, "include: `%s` cannot be searched: %s", path,
		    strerror(errno));
	}
}

static void include(struct parser *p, const struct gac_stmt *s)
{
	if (p->depth > 0) {
		gac_diag_error_at(p->tree->diag, &s->name.pos,
		    "include stands at the top level, not inside a block");
		return;
	}
	if (s->nwords == 0)
		gac_diag_error_at(p->tree->diag, &s->name.pos, "include needs the name of a file");
	if (p->tree->no_files) {
		gac_diag_error_at(p->tree->diag, &s->name.pos, "include is not possible here");
		return;
	}
	for (size_t i = 0; i < s->nwords; i++)
		include_one(p, &s->words[i]);
}

static void statement(struct parser *p)
{
	struct gac_stmt *s = ga_alloc(p->tree->pool, sizeof *s);
	struct gac_stmt_list *list = p->lists[p->depth];

	s->name = (struct gac_word){ p->t.text, p->t.pos, 0, p->t.quoted };
	s->where = ga_fmt(p->tree->pool, "%s:%u", p->lx.file->name, p->t.pos.line).p;
	advance(p);
	read_values(p, s);
	if (p->t.kind != GAC_TOK_OPEN && ga_str_eq(s->name.text, GA_STR("include"))) {
		include(p, s);
		p->last = NULL;
	} else if (p->too_deep == 0) {
		*list->tail = s;
		list->tail = &s->next;
		p->last = s;
	}
	if (p->t.kind == GAC_TOK_OPEN) {
		open_block(p, s);
		p->last = NULL;
		expect_eol(p, "the first statement of a block stands on the line after `{`");
	} else if (p->t.kind == GAC_TOK_CLOSE) {
		brace_error(p, &p->t.pos, "`}` stands on a line of its own");
	} else if (p->t.kind == GAC_TOK_EOL) {
		advance(p);
	}
}

/* `{` alone on a line: it belongs to the statement before, if any. */
static void stray_open(struct parser *p)
{
	struct gac_pos pos = p->t.pos;
	struct gac_stmt *s = p->last;

	if (s == NULL) {
		gac_diag_error_at(p->tree->diag, &pos, "`{` without the name of a block before it");
		s = ga_alloc(p->tree->pool, sizeof *s);
		s->name.pos = pos;
	} else {
		gac_diag_error_at(p->tree->diag, &pos,
		    "`{` stands on the line of its block: put it at the end of line %u", s->name.pos.line);
	}
	p->braces_line = pos.line;
	open_block(p, s);
	p->last = NULL;
	expect_eol(p, "");
}

static void parse(struct parser *p)
{
	advance(p);
	while (p->t.kind != GAC_TOK_EOF) {
		switch (p->t.kind) {
		case GAC_TOK_WORD:
			statement(p);
			break;
		case GAC_TOK_OPEN:
			stray_open(p);
			break;
		case GAC_TOK_CLOSE:
			close_block(p);
			expect_eol(p, "`}` stands on a line of its own");
			break;
		case GAC_TOK_COMMA:
			gac_diag_error_at(p->tree->diag, &p->t.pos, "a statement cannot begin with a comma");
			advance(p);
			break;
		default:
			advance(p);
		}
	}
	while (p->depth > 0) {
		const struct gac_stmt *s = p->open[--p->depth];

		gac_diag_error_at(p->tree->diag, &p->t.pos,
		    "the block `%.*s` of line %u is not closed: `}` is missing",
		    (int)s->name.text.n, s->name.text.p, s->name.pos.line);
	}
}

static void parse_text(struct gac_tree *tr, const struct gac_file *file, struct ga_str text,
    const struct reading *reading)
{
	struct parser *p = ga_xcalloc(1, sizeof *p);

	p->tree = tr;
	p->reading = reading;
	p->lists[0] = &tr->top;
	gac_lexer_init(&p->lx, tr->pool, tr->diag, file, text);
	parse(p);
	free(p);
}

/* ---- files */

/* Why it cannot be read, or NULL. */
static const char *slurp(struct ga_pool *pool, int fd, const struct stat *st, struct ga_str *text)
{
	size_t size = (size_t)st->st_size, n = 0;
	char *buf;

	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (st->st_size > MAX_FILE)
		return "it is larger than 16 MiB";
	buf = ga_alloc(pool, size + 1);
	while (n < size) {
		ssize_t got = read(fd, buf + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return strerror(errno);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	*text = (struct ga_str){ buf, n };
	return NULL;
}

static bool is_being_read(const struct reading *r, const struct stat *st)
{
	for (; r != NULL; r = r->outer)
		if (r->dev == st->st_dev && r->ino == st->st_ino)
			return true;
	return false;
}

static void cannot_read(struct gac_tree *tr, const char *path, const struct gac_pos *from,
    const struct gac_file *self, const char *why)
{
	struct gac_pos whole = { self, 0, 0 };

	if (from != NULL)
		gac_diag_error_at(tr->diag, from, "include: `%s` cannot be read: %s", path, why);
	else
		gac_diag_error_at(tr->diag, &whole, "cannot be read: %s", why);
}

static void read_file(struct gac_tree *tr, const char *path, const struct reading *outer,
    const struct gac_pos *from)
{
	struct reading r = { .outer = outer, .depth = outer == NULL ? 0 : outer->depth + 1 };
	struct gac_file *file;
	struct stat st = { 0 };
	struct ga_str text = { NULL, 0 };
	const char *why = NULL;
	int fd;

	if (r.depth > MAX_INCLUDE_DEPTH || tr->nfiles >= MAX_FILES) {
		gac_diag_error_at(tr->diag, from, "include: more than %d files inside one another, or %d in all",
		    MAX_INCLUDE_DEPTH, MAX_FILES);
		return;
	}
	file = new_file(tr, path);
	/* O_NONBLOCK: a pipe put in the place of a file must not stop us. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) != 0)
		why = strerror(errno);
	else if (is_being_read(outer, &st))
		why = "it includes itself";
	else
		why = slurp(tr->pool, fd, &st, &text);
	if (fd >= 0)
		close(fd);
	if (why != NULL) {
		cannot_read(tr, path, from, file, why);
		return;
	}
	r.dev = st.st_dev;
	r.ino = st.st_ino;
	parse_text(tr, file, text, &r);
}

const struct gac_file *gac_tree_read(struct gac_tree *tr, const char *path)
{
	struct gac_file *whole = new_file(tr, path);

	tr->nfiles--;		/* the same file, opened below under the same number */
	read_file(tr, path, NULL, NULL);
	return whole;
}

const struct gac_file *gac_tree_text(struct gac_tree *tr, const char *name, struct ga_str text)
{
	static const struct reading nothing;
	struct gac_file *file = new_file(tr, name);

	parse_text(tr, file, ga_dup(tr->pool, text), &nothing);
	return file;
}

void gac_tree_values(struct ga_pool *pool, struct ga_diag *diag, const struct gac_file *file,
    struct ga_str text, struct gac_stmt *out)
{
	struct gac_tree tr;
	struct parser p = { .tree = &tr };

	gac_tree_init(&tr, pool, diag);
	gac_lexer_init(&p.lx, pool, diag, file, text);
	*out = (struct gac_stmt){ .where = "" };
	advance(&p);
	out->name.pos = p.t.pos;
	read_values(&p, out);
	if (p.t.kind != GAC_TOK_EOF)
		gac_diag_error_at(diag, &p.t.pos, "the default is more than one line of values");
}
