/*
 * test_conf_manifest.c - modules are judged by their file, before any of it runs
 *
 * Real shared objects are compiled here (the compiler is $CC), each wrong in one
 * way; their constructor would leave a trace if any of them were loaded.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/manifest.h"
#include "conf_fixture.h"

static char dir[] = "/tmp/ga-manifest-XXXXXX";
static const char *trace;

static const char *path_of(const char *name)
{
	static char path[200];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void run(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof cmd, fmt, ap);
	va_end(ap);
	assert_int_equal(system(cmd), 0);
}

/* NAME.so with the given line of the manifest's head. */
static void compile(const char *file, const char *name, const char *abi)
{
	char source[400];
	FILE *f;

	snprintf(source, sizeof source, "%s/%s.c", dir, file);
	f = fopen(source, "w");
	assert_non_null(f);
	fprintf(f, "#include <fcntl.h>\n"
	    "static const char m[] __attribute__((section(\".greenarrow\"), used)) =\n"
	    "\"GreenArrowModule\\002name\\t%s\\nversion\\t1.4.2\\nabi\\t%s\\nscopes\\tdomain\\nhook\\trcpt\\nhook\\teom\\n\"\n"
	    "\"directives\\nfixture_limit\\tint\\t5\\tmin=1\\tgeneral\\tA limit\\n\\003\";\n"
	    "const void *fixture_keep = m;\n"
	    "__attribute__((constructor)) static void ran(void) { open(\"%s\", O_CREAT | O_WRONLY, 0600); }\n",
	    name, abi, trace);
	fclose(f);
	run("%s -shared -fPIC -w -o %s/%s.so %s", getenv("CC") != NULL ? getenv("CC") : "cc", dir, file, source);
}

/* The refusal, or "" for accepted. */
static const char *judged_in(struct ga_pool *pool, const char *path, const char *folder, const char *name)
{
	const struct gac_owners owners = { { geteuid() }, 1 };
	struct gac_manifest m;
	const char *why = gac_manifest_read(pool, path, folder, &owners, &m);

	if (why == NULL)
		why = gac_manifest_accept(pool, &m, name, "this-build");
	return why == NULL ? "" : why;
}

static void expect(const char *file, const char *name, const char *refusal)
{
	struct ga_pool *pool = ga_pool_new(0);

	assert_string_equal(judged_in(pool, path_of(file), dir, name), refusal);
	ga_pool_free(pool);
}

static void test_a_good_module_is_described(void **state)
{
	const struct gac_owners owners = { { geteuid() }, 1 };
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_manifest m;
	struct stat st;

	(void)state;
	compile("good", "good", "1.0\\tGA_ABI_STRICT\\tthis-build");
	expect("good.so", "good", "");
	assert_null(gac_manifest_read(pool, path_of("good.so"), dir, &owners, &m));
	assert_string_equal(m.name, "good");
	assert_string_equal(m.version, "1.4.2");
	assert_string_equal(m.scopes, "domain");
	assert_int_equal(m.hooks.n, 2);
	assert_true(ga_str_eq(m.hooks.v[1], GA_STR("eom")));
	assert_int_equal(m.level, GA_ABI_STRICT);
	assert_true(ga_str_starts(m.directives, GA_STR("fixture_limit\tint\t5")));
	assert_int_equal(stat(path_of("good.so"), &st), 0);
	assert_true(m.ino == st.st_ino && m.dev == st.st_dev);
	ga_pool_free(pool);
}

static void test_stripped_is_as_good(void **state)
{
	(void)state;
	compile("stripped", "stripped", "1.0\\tGA_ABI_STABLE\\t");
	run("strip %s", path_of("stripped.so"));
	expect("stripped.so", "stripped", "");
}

static void test_each_cause_has_its_message(void **state)
{
	char want[600];

	(void)state;
	compile("other", "another", "1.0\\tGA_ABI_STABLE\\t");
	expect("other.so", "other", "calls itself `another`: expected `other`");
	compile("major", "major", "2.0\\tGA_ABI_STABLE\\t");
	expect("major.so", "major", "was built for module API 2.0: expected major 1");
	compile("minor", "minor", "1.7\\tGA_ABI_STABLE\\t");
	snprintf(want, sizeof want, "needs module API 1.7: this program has 1.%d", GA_ABI_MINOR);
	expect("minor.so", "minor", want);
	compile("level", "level", "1.0\\tGA_ABI_LOOSE\\t");
	expect("level.so", "level", "has the unknown API level `GA_ABI_LOOSE`: expected GA_ABI_STABLE or GA_ABI_STRICT");
	compile("build", "build", "1.0\\tGA_ABI_STRICT\\tthat-build");
	expect("build.so", "build", "is of another build: expected build id `this-build`, found `that-build`");
	snprintf(want, sizeof want, "cannot be found: %s: No such file or directory", path_of("absent.so"));
	expect("absent.so", "absent", want);
}

static void test_what_is_no_module(void **state)
{
	(void)state;
	run("printf 'not ELF at all' > %s", path_of("text.so"));
	expect("text.so", "text", "is not a shared object");
	run("printf 'int x;' | %s -shared -fPIC -x c -o %s -", getenv("CC") != NULL ? getenv("CC") : "cc", path_of("plain.so"));
	expect("plain.so", "plain", "is not a GreenArrow module: it has no section .greenarrow");
	run("head -c 900 %s/good.so > %s", dir, path_of("short.so"));
	expect("short.so", "short", "is a damaged shared object");
	run("cp %s/good.so %s/arm.so && printf '\\267' | dd of=%s/arm.so bs=1 seek=18 conv=notrunc 2>/dev/null", dir, dir, dir);
	expect("arm.so", "arm", "is a shared object for another kind of machine");
	run("mkdir %s", path_of("folder.so"));
	expect("folder.so", "folder", "is refused: it is not a regular file");
}

static void test_who_could_have_written_it(void **state)
{
	struct ga_pool *pool = ga_pool_new(0);
	const struct gac_owners nobody = { { 0 }, 0 };
	struct gac_manifest m;
	char want[600], path[256], outside[] = "/tmp/ga-outside-XXXXXX";

	(void)state;
	run("cp %s/good.so %s/loose.so && chmod 664 %s/loose.so", dir, dir, dir);
	expect("loose.so", "good",
	    "is refused: it may be written by group or others (mode 0664), expected mode 0644");
	run("mkdir -m 777 %s/open && cp %s/good.so %s/open/good.so && chmod 644 %s/open/good.so", dir, dir, dir, dir);
	snprintf(path, sizeof path, "%s/open", dir);
	snprintf(want, sizeof want, "is refused: its folder %s/open may be written by group or others (mode 0777), expected mode 0755", dir);
	assert_string_equal(judged_in(pool, path_of("open/good.so"), path, "good"), want);
	run("ln -s good.so %s/inside.so", dir);
	expect("inside.so", "good", "");
	assert_non_null(mkdtemp(outside));
	run("cp %s/good.so %s/good.so && ln -s %s/good.so %s/leads.so", dir, outside, outside, dir);
	snprintf(want, sizeof want, "is refused: it is a link that leads out of the module directory, to %s/good.so", outside);
	expect("leads.so", "good", want);
	run("rm -r %s", outside);
	if (geteuid() == 0) {
		run("cp %s/good.so %s/theirs.so && chown 1234 %s/theirs.so", dir, dir, dir);
		assert_string_equal(gac_manifest_read(pool, path_of("theirs.so"), dir, &nobody, &m),
		    "is refused: it is owned by uid 1234, expected root");
	}
	ga_pool_free(pool);
}

static void test_damaged_descriptions(void **state)
{
	static const struct {
		struct ga_str text;
		const char *why;
	} all[] = {
		{ { "", 0 }, "is not a GreenArrow module: its section .greenarrow does not hold a description" },
		{ { "GreenArrowModule\002name\tx\n", 25 }, "is damaged: its description has no end" },
		{ { "GreenArrowModule\002name\tx\n\0directives\n\003", 38 }, "is damaged: its description has no end" },
		{ { "GreenArrowModule\002name\tx\n\003", 26 }, "is damaged: its description has no list of directives" },
		{ { "GreenArrowModule\002directives\n\003", 29 }, "is damaged: its description has no name" },
	};
	struct ga_pool *pool = ga_pool_new(0);
	struct gac_manifest m;

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		assert_string_equal(gac_manifest_parse(pool, all[i].text, &m), all[i].why);
	ga_pool_free(pool);
}

static void test_a_configuration_loads_it_from_the_directory(void **state)
{
	char text[512];
	struct gac_conf_options o;
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf;
	const struct gac_report *r;

	(void)state;
	snprintf(text, sizeof text, "load_module good\ngeneral {\n  module_directory %s\n  fixture_limit 7\n}\n", dir);
	o = fx_options("t.conf", text);
	o.no_files = false;
	o.nbuiltin = 0;
	o.build_id = "this-build";
	conf = gac_conf_load(&o, diag);
	gac_diag_print(diag, stderr);
	assert_non_null(conf);
	assert_int_equal(gac_conf_modules(conf), 1);
	assert_string_equal(gac_conf_module_name(conf, 0), "good");
	gac_conf_free(conf);
	gac_diag_free(diag);

	/* Not loaded: the directive is known all the same. */
	snprintf(text, sizeof text, "general {\n  module_directory %s\n  fixture_limit 7\n}\n", dir);
	o = fx_options("t.conf", text);
	o.no_files = false;
	o.nbuiltin = 0;
	diag = gac_diag_new();
	assert_null(gac_conf_load(&o, diag));
	assert_int_equal(gac_diag_reports(diag, &r), 1);
	assert_non_null(strstr(r[0].message, "fixture_limit is a directive of module"));
	gac_diag_free(diag);
}

static void test_a_program_tells_all_modules_that_are_in_it(void **state)
{
	struct ga_pool *pool = ga_pool_new(0);
	const struct gac_manifest_text *v;
	const char *cc = getenv("CC") != NULL ? getenv("CC") : "cc";

	(void)state;
	run("sed -e 's/fixture_keep/other_keep/' -e 's/void ran/void ran2/' -e 's/name.tgood/name\\\\tother/' %s/good.c > %s/b.c", dir, dir);
	run("printf 'int main(void) { return 0; }' > %s/main.c && cd %s && %s -w -o program main.c good.c b.c", dir, dir, cc);
	assert_int_equal(gac_manifest_list(pool, path_of("program"), &v), 2);
	assert_string_equal(v[0].name, "good");
	assert_string_equal(v[1].name, "other");
	assert_int_equal(gac_manifest_list(pool, "/bin/true", &v), 0);
	assert_int_equal(gac_manifest_list(pool, path_of("absent"), &v), 0);
	ga_pool_free(pool);
}

static void test_nothing_has_run(void **state)
{
	(void)state;
	assert_int_not_equal(access(trace, F_OK), 0);
}

static int set_up(void **state)
{
	static char path[64];

	(void)state;
	umask(022);
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/ran", dir);
	trace = path;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	run("rm -r %s", dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_module_is_described),
		cmocka_unit_test(test_stripped_is_as_good),
		cmocka_unit_test(test_each_cause_has_its_message),
		cmocka_unit_test(test_what_is_no_module),
		cmocka_unit_test(test_who_could_have_written_it),
		cmocka_unit_test(test_damaged_descriptions),
		cmocka_unit_test(test_a_configuration_loads_it_from_the_directory),
		cmocka_unit_test(test_a_program_tells_all_modules_that_are_in_it),
		cmocka_unit_test(test_nothing_has_run),
	};

	return cmocka_run_group_tests_name("conf_manifest", tests, set_up, tear_down);
}
