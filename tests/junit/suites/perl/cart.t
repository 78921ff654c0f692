use strict; use warnings; use utf8;
use Test::More tests => 7;
binmode Test::More->builder->$_, ':utf8' for qw(output failure_output todo_output);
ok 1, 'passes';
is 8, 9, 'fails <&>';
SKIP: { skip 'no card reader', 1; ok 0, 'skipped'; }
TODO: { local $TODO = 'rounding'; ok 0, 'expected'; ok 1, 'unexpected'; }
ok 1, 'größe';
subtest nested => sub { plan tests => 2; ok 1, 'one'; ok 1, '日本円'; };
