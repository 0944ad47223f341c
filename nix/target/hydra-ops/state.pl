# Reads the state that a closure wants, and keeps the record of our changes to the machine: /var/lib/hydra-ops.
#
# `managed` names every change of ours that was not taken back, in the format of the manifest:
#   ["path", path]  ["dir", folder we made]  ["saved", path, number of its original in saved/]
#   ["unit", name, "enable" or "", text, hash of restartTriggers]   as it last started with success
# `managed` is written before any change, as a promise of what may exist, and again at the end.
#
# `owner` is the UUID of the deployment that `managed` belongs to. An argument and not a part of the closure, which is
# the same for every deployment of the same definition. Under the lock and before the first promise: what `managed`
# names is its owner's at every point at which this may be killed. Whoever removes the file lets the next one take over.
package State;
use strict;
use warnings;

my $own = '/var/lib/hydra-ops';

sub saved_file { "$own/saved/$_[0]" }

# --- wanted ------------------------------------------------------------------------------------------------------

sub manifest_records {
    my ($closure) = @_;
    open my $in, '<:raw', "$closure/manifest.nix" or die "cannot read $closure/manifest.nix: $!\n";
    my $text = do { local $/; <$in> };
    return Records::parse_file($text // '', "$closure/manifest.nix");
}

# How many strings a record of a kind has.
my %size = (file => 6, source => 6, unit => 5, apt => 2, host => 3, activate => 2, keep => 2);

sub read_manifest {
    my ($closure) = @_;
    my %want = (files => {}, units => {}, hosts => [], apt => {}, links => {});
    for my $record (manifest_records($closure)) {
        my ($kind, @rest) = @$record;
        # A newer closure may want what this program does not know; guessing would leave the machine half made.
        die "the manifest has a record of kind '$kind' with ${\ scalar @$record} strings, which is not known here\n"
            unless ($size{$kind} // 0) == @$record;
        if ($kind eq 'file' || $kind eq 'source') {
            my ($path, $mode, $user, $group, $content) = @rest;
            $want{files}{$path} = {
                mode => oct $mode, user => $user, group => $group,
                ($kind eq 'file' ? 'text' : 'source') => $content,
            };
        }
        elsif ($kind eq 'unit') { @{ $want{units}{ $rest[0] } }{qw(enable text trigger)} = @rest[1 .. 3] }
        elsif ($kind eq 'apt')  { $rest[0] =~ /^([^=]+)/ and $want{apt}{$1} = 1 }
        elsif ($kind eq 'host') { push @{ $want{hosts} }, \@rest }
        elsif ($kind eq 'activate') { $want{activate} = $rest[0] }
        # `keep` asks for nothing: that it stands here holds a path in the closure.
    }
    $want{links} = programs($closure);
    return \%want;
}

# Links to the programs of the packages: /usr/local is on the PATH of shells, ssh, sudo and units alike.
sub programs {
    my ($closure) = @_;
    my %links;
    for my $folder (qw(bin sbin)) {
        opendir my $programs, "$closure/$folder" or next;
        $links{"/usr/local/$folder/$_"} = "$closure/$folder/$_" for grep { !/^\./ } readdir $programs;
    }
    return \%links;
}

sub wanted_paths {
    my ($want) = @_;
    return (keys %{ $want->{files} }, keys %{ $want->{links} }, map { Units::file_of($_) } keys %{ $want->{units} });
}

# --- done --------------------------------------------------------------------------------------------------------

# Another deployment would drop everything of this one's as if its own definition had dropped it.
sub refuse_other_owner {
    my ($deployment) = @_;
    my $owner = Files::read_bytes("$own/owner") // return;
    chomp $owner;
    die "the machine belongs to deployment $owner ($own/owner); nothing was changed\n"
        if defined $deployment && $owner ne $deployment;
}

# Started by hand, without a deployment, it goes on for the one that is there.
sub own {
    my ($deployment) = @_;
    write_own('owner', "$deployment\n") if defined $deployment;
}

sub read_managed {
    my %have = (paths => {}, dirs => {}, saved => {}, units => {});
    my $text = Files::read_bytes("$own/managed") // return \%have;
    for my $record (Records::parse_file($text, "$own/managed")) {
        my ($kind, $name, @rest) = @$record;
        if    ($kind eq 'path')  { $have{paths}{$name} = 1 }
        elsif ($kind eq 'dir')   { $have{dirs}{$name} = 1 }
        elsif ($kind eq 'saved') { $have{saved}{$name} = $rest[0] }
        elsif ($kind eq 'unit')  { @{ $have{units}{$name} }{qw(enable text trigger)} = @rest }
    }
    return \%have;
}

sub write_managed {
    my ($managed) = @_;
    my $units = $managed->{units};
    write_own('managed', Records::format_file(
        (map { [ 'path', $_ ] } sort keys %{ $managed->{paths} }),
        (map { [ 'dir', $_ ] } sort keys %{ $managed->{dirs} }),
        (map { [ 'saved', $_, $managed->{saved}{$_} ] } sort keys %{ $managed->{saved} }),
        (map { [ 'unit', $_, @{ $units->{$_} }{qw(enable text trigger)} ] } sort keys %$units),
    ));
}

# A file of ours, on the disk when this returns.
sub write_own {
    my ($name, $text) = @_;
    Files::make_parents("$own/$name");
    Files::put("$own/$name", { text => $text, mode => 0600, uid => 0, gid => 0 });
    return 1;
}

# Folders in which a kill may have left a staged file.
sub folders {
    my ($want, $have) = @_;
    my %folders = map { (Files::parent($_) => 1) } wanted_paths($want), keys %{ $have->{paths} }, '/etc/hosts',
        "$own/managed", saved_file(1);
    return sort keys %folders;
}

# --- the difference ----------------------------------------------------------------------------------------------

# Saves what is in the way, promises everything that is about to be written, and returns what is to be done.
sub claim {
    my ($want, $have) = @_;
    my %wanted  = map { ($_ => 1) } wanted_paths($want);
    my %saved   = %{ $have->{saved} };
    my %needed  = map { ($_ => 1) } map { folders_of($_) } keys %wanted;
    my %made    = map { ($_ => 1) } map { Files::missing_parents($_) } keys %wanted;
    my @units   = map { unit_plan($_, $want->{units}{$_}, $have->{units}{$_}) } sort keys %{ $want->{units} };
    my %dropped = map { ($_ => $have->{units}{$_}) } grep { !$want->{units}{$_} } keys %{ $have->{units} };
    my $number  = 0;
    for (values %saved) { $number = $_ if $_ > $number }
    for my $path (sort keys %wanted) {
        next if $have->{paths}{$path} || $have->{dirs}{$path} || $want->{links}{$path} || !Files::exists_at($path);
        $saved{$path} = ++$number;
        Files::save($path, saved_file($number));
    }
    my %plan = (
        units         => \@units,
        dropped_units => \%dropped,
        dropped_paths => [ sort grep { !$wanted{$_} } keys %{ $have->{paths} } ],
        dropped_dirs  => [ grep { !$needed{$_} } keys %{ $have->{dirs} } ],
        saved         => \%saved,
        wanted        => \%wanted,
        dirs          => { map { ($_ => 1) } grep { $needed{$_} } keys %{ $have->{dirs} }, keys %made },
        needs_systemd => scalar(@units || %dropped || grep { m{^/etc/systemd/} } keys %wanted, keys %{ $have->{paths} }),
    );
    write_managed({
        paths => { %{ $have->{paths} }, %wanted },
        dirs  => { %{ $have->{dirs} }, %made },
        saved => \%saved,
        units => { %dropped, map { ($_->{name} => $_->{changed} ? pending($_) : record_of($_)) } @units },
    });
    return \%plan;
}

sub folders_of {
    my ($path) = @_;
    my @folders;
    for (my $folder = Files::parent($path); $folder ne '/'; $folder = Files::parent($folder)) { push @folders, $folder }
    return @folders;
}

sub unit_plan {
    my ($name, $want, $have) = @_;
    return {
        %$want,
        name       => $name,
        is_first   => !$have,
        was_on     => $have && $have->{enable},
        turned_on  => $want->{enable} && !($have && $have->{enable}),
        turned_off => $have && $have->{enable} && !$want->{enable},
        changed    => !$have || $have->{text} ne $want->{text} || $have->{trigger} ne $want->{trigger},
    };
}

sub record_of {
    my ($unit) = @_;
    return { map { ($_ => $unit->{$_}) } qw(enable text trigger) };
}

# Differs from every unit, so that the next run starts it again; enabled if it may be.
sub pending {
    my ($unit) = @_;
    return { enable => $unit->{enable} || $unit->{was_on} ? 'enable' : '', text => '', trigger => '' };
}

# What is recorded at the end. Units that failed are started again by the next run; what would not go stays known.
sub settled {
    my ($plan, $failed, $leftovers) = @_;
    my %stuck = map { ($_ => $plan->{dropped_units}{$_}) } grep { $plan->{dropped_units}{$_} } @$leftovers;
    my %paths = (%{ $plan->{wanted} }, map { (Units::file_of($_) => 1) } keys %stuck);
    return {
        paths => \%paths,
        dirs  => $plan->{dirs},
        saved => { map { ($_ => $plan->{saved}{$_}) } grep { $paths{$_} } keys %{ $plan->{saved} } },
        units => { %stuck, map { ($_->{name} => $failed->{ $_->{name} } ? pending($_) : record_of($_)) } @{ $plan->{units} } },
    };
}

# Originals that no record names any more.
sub forget_saved {
    my ($managed) = @_;
    my %kept = map { ($_ => 1) } values %{ $managed->{saved} };
    Files::remove("$own/saved/$_") for grep { /^\d+\z/ && !$kept{$_} } Files::names_in("$own/saved");
}

1;
