//! Numbers and names that Azure hides in its sentences. What does not read as expected is left to the sentence itself.

/// What stands between two texts.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found).filter(|found| !found.trim().is_empty())
}

/// What stands in single quotes next behind a text.
pub(super) fn quoted_after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    let (_, rest) = rest.split_once('\'')?;
    let (found, _) = rest.split_once('\'')?;
    Some(found).filter(|found| !found.trim().is_empty())
}

/// Which cores are missing, and how many, as in: «…exceeding approved standardDSv3Family Cores quota. Additional
/// details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: 10, Current Usage: 8, Additional
/// Required: 4, (Minimum) New Limit Required: 12…».
pub(super) fn missing_cores(message: &str) -> Option<String> {
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = message.split_once(name)?;
        let digits: String =
            rest.trim_start().chars().take_while(char::is_ascii_digit).take(12).collect();
        digits.parse().ok()
    };
    let (limit, used) = (number("Current Limit:")?, number("Current Usage:")?);
    let needed = number("Additional Required:")?;
    let missing = (used + needed).saturating_sub(limit);
    let what = between(message, "exceeding approved ", " quota");
    let what = super::one_line(what.unwrap_or("cores"));
    let place = between(message, "Location:", ",").map(|place| super::one_line(place.trim()));
    let place = place.map_or_else(String::new, |place| format!(" in {place}"));
    Some(format!(
        "the quota for {what}{place} is too small: {needed} needed, {} of {limit} left, {missing} missing; ask for at \
         least {} under «Quotas» in Azure's portal, or choose a size of another family",
        limit.saturating_sub(used),
        used + needed
    ))
}
