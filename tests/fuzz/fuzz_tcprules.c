/*
 * fuzz_tcprules.c - any octets as a file of access rules.
 *
 * What must hold: a fault has a line of the text; each record is "D" or variables, each ended by a NUL, and
 * lies within what the text can make; a line makes at most 256 of them; who wants no more gets no more.
 */
#include "../../cli/tcprules.h"

#include "fuzz.h"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("# rules\n127.:allow,RELAYCLIENT=\"\"\n1.2.3.4-9:deny\n10.2-3.:allow,A=/b/,C=|d| \t\n:deny"),
	FUZZ_INPUT("[2001:db8::1]:allow\n[2001:db8::]/32:deny,A=\"\"\n[::]/0:allow\n[::ffff:1.2.3.4]:allow"),
	FUZZ_INPUT(" 1.:allow\n=host.example:deny\njoe@1.2-3:allow\n-:allow\n1-\0:deny\nno colon\n::allow"),
};

struct seen {
	size_t records, most, room;
};

static bool see(void *arg, struct ga_str key, struct ga_str data)
{
	struct seen *seen = arg;

	FUZZ_CHECK(key.n <= seen->room + 24 && data.n <= seen->room + 2);
	FUZZ_CHECK(data.n == 0 || (data.p[data.n - 1] == '\0' && (data.p[0] == 'D' || data.p[0] == '+')));
	return ++seen->records < seen->most;
}

static bool compile(struct ga_str text, struct seen *seen)
{
	struct tcprules_fault fault;
	size_t lines = 1;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	if (tcprules_compile(text, see, seen, &fault))
		return true;
	FUZZ_CHECK(fault.line >= 1 && fault.line <= lines && (fault.why == NULL) == (seen->records == seen->most));
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ga_str text = { (const char *)data, n };
	struct seen all = { 0, SIZE_MAX, n }, one = { 0, 1, n };
	bool good = compile(text, &all);

	FUZZ_CHECK(all.records <= 256 * (n + 1));
	FUZZ_CHECK(compile(text, &one) == (good && all.records == 0));
	FUZZ_CHECK(one.records == (all.records > 0));
	return 0;
}

FUZZ_MAIN(inputs);
