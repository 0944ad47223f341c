# Reads records. Each line is one record: a JSON array of byte strings. The parser is plain perl, because perl-base
# has no JSON module.
package Records;
use strict;
use warnings;

# Parses the bytes of one line without its line feed. Returns a reference to the strings; dies on any other text.
sub parse_line {
    my ($line) = @_;
    my @strings;
    $line =~ /\G\[/gc or die "a record does not begin with '['\n";
    if ($line !~ /\G\]/gc) {
        do { push @strings, parse_string(\$line) } while ($line =~ /\G,/gc);
        $line =~ /\G\]/gc or die "a record does not end with ']'\n";
    }
    pos($line) == length $line or die "a record goes on after its end\n";
    return \@strings;
}

my %plain = (b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", '"' => '"', '\\' => '\\', '/' => '/');

# Parses a string in steps instead of with one regular expression, because perl limits the repetitions of a group.
sub parse_string {
    my ($line) = @_;
    my $text = '';
    $$line =~ /\G"/gc or die "a string does not begin with a quote\n";
    until ($$line =~ /\G"/gc) {
        if    ($$line =~ /\G([^"\\]+)/gc)            { $text .= $1 }
        elsif ($$line =~ /\G\\u([0-9a-fA-F]{4})/gc)  { $text .= utf8_bytes(code_point(hex $1, $line)) }
        elsif ($$line =~ /\G\\([bfnrt"\\\/])/gc)     { $text .= $plain{$1} }
        else                                         { die "a string does not end, or has an unknown escape\n" }
    }
    return $text;
}

# Parses an escape. Code points above U+FFFF are written as two escapes (RFC 8259, section 7).
sub code_point {
    my ($unit, $line) = @_;
    return $unit if $unit < 0xD800 || $unit > 0xDFFF;
    $$line =~ /\G\\u([dD][c-fC-F][0-9a-fA-F]{2})/gc or die "a string has half of a surrogate pair\n";
    return 0x10000 + (($unit - 0xD800) << 10) + (hex($1) - 0xDC00);
}

sub utf8_bytes {
    my $char = chr $_[0];
    utf8::encode($char);
    return $char;
}

sub format_line {
    my @quoted = map {
        my $text = $_;
        $text =~ s/([\x00-\x1f"\\])/sprintf '\\u%04x', ord $1/ge;
        qq("$text")
    } @_;
    return '[' . join(',', @quoted) . ']';
}

# Parses the text of a whole file into a list of records. The last record gives the size of all others.
sub parse_file {
    my ($text, $where) = @_;
    my $end = rindex $text, "\n", length($text) - 2;
    my $last = eval { parse_line(substr $text, $end + 1, -1) } if $text =~ /\n\z/;
    die "$where is damaged: its last record is missing\n" unless $last && @$last == 2 && $last->[0] eq 'end';
    die "$where is damaged: it has ${\ ($end + 1)} bytes of records, and there should be $last->[1]\n"
        unless $last->[1] eq $end + 1;
    my @records = eval { map { parse_line($_) } split /\n/, substr $text, 0, $end + 1 };
    die "$where is damaged: $@" if $@;
    return @records;
}

sub format_file {
    my $text = join '', map { format_line(@$_) . "\n" } @_;
    return $text . format_line('end', length $text) . "\n";
}

1;
